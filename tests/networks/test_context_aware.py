"""CAC-v1m1: prototypes of the classes from each cloud by itself."""

import numpy as np
import pytest
import torch

from app.errors import BadModel
from app.networks.fold import fold
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from tests.networks.network_samples import SPUNET, make_network, make_voxels

MODEL = {
    "type": "CAC-v1m1",
    "backbone": SPUNET,
    "criteria": [{"type": "CrossEntropyLoss"}],
    "num_classes": 5,
    "backbone_out_channels": 8,
    "cos_temp": 15,
    "conf_thresh": 0.3,
    "detach_pre_logits": True,
}


def by_formula(network, features: np.ndarray, conf_thresh: float) -> np.ndarray:
    """Logits (V, 5) of one cloud from the backbone's features (V, 8), in float64."""

    def linear(layer, x):
        return x @ layer.weight.double().numpy().T + (0 if layer.bias is None else layer.bias.double().numpy())

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    scores = np.exp(linear(network.seg_head, features))
    scores /= scores.sum(1, keepdims=True)
    scores[scores.max(1) < conf_thresh] = 0
    means = scores.T @ features / (scores.sum(0)[:, None] + 1e-7)
    first, _, last = network.proj
    prototypes = np.concatenate([means, network.seg_head.weight.double().numpy()], 1)
    prototypes = linear(last, np.maximum(linear(first, prototypes), 0))
    first, norm, _, last = network.feat_proj_layer
    mean, variance, weight, bias = (
        values.double().numpy() for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    hidden = (linear(first, features) - mean) / np.sqrt(variance + 1e-5) * weight + bias
    return 15 * unit(linear(last, np.maximum(hidden, 0))) @ unit(prototypes).T


@pytest.mark.parametrize("conf_thresh", [0, 0.3])
@torch.inference_mode()
def test_logits_follow_the_formula_for_every_cloud_of_a_batch(conf_thresh):
    network = make_network(MODEL | {"conf_thresh": conf_thresh})
    coords = torch.cat([make_voxels(1, 900), make_voxels(2, 150, batch=1)])
    features, plan = torch.randn(len(coords), 4), network.plan(VoxelBatch(coords))
    seen = network.backbone(features, plan.backbone).double().numpy()
    expected = [by_formula(network, seen[coords[:, 0] == cloud], conf_thresh) for cloud in (0, 1)]
    for alike in (network, fold(network)):
        torch.testing.assert_close(
            alike(features, plan).double().numpy(), np.concatenate(expected), rtol=1e-4, atol=1e-4
        )


@torch.inference_mode()
def test_the_number_of_threads_does_not_change_the_logits():
    network = make_network(MODEL)
    features, guess, directions = torch.randn(20_000, 8), torch.rand(20_000, 5), torch.randn(20_000, 8)
    answers, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            answers.append(network.cosines(features, guess, directions))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_a_width_that_is_not_the_backbone_s_is_refused():
    with pytest.raises(BadModel, match="model: backbone_out_channels is 96, but the backbone gives 8"):
        build(MODEL | {"backbone_out_channels": 96})
