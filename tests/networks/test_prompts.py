"""Networks trained on several datasets: SpUNet-v1m3 and PPT."""

import re

import pytest
import torch

from app.errors import BadModel, BadRequest
from app.networks.fold import fold
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from tests.networks.models.prompts import BACKBONE, CONDITIONS, DECOUPLED, JOINT, LANGUAGE
from tests.networks.network_samples import SPUNET, make_network, make_voxels


def batch(condition, *coords):
    return VoxelBatch(torch.cat(coords or (make_voxels(1),)), condition=condition)


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("decouple", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@torch.inference_mode()
def test_a_norm_is_that_of_its_dataset_scaled_and_shifted_by_the_context(adaptive, decouple, affine):
    backbone = BACKBONE | {"norm_adaptive": adaptive, "norm_decouple": decouple, "norm_affine": affine}
    norm = make_network(DECOUPLED | {"backbone": backbone}).backbone.conv_input.bn
    x, context = torch.randn(30, 8), torch.randn(1, 6)
    expected = (norm.bns[1] if decouple else norm.bn)(x)
    if adaptive:
        shift, scale = norm.modulation(context).chunk(2, dim=1)
        expected = expected * (1 + scale) + shift
    torch.testing.assert_close(norm.resolved(1, context)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", [DECOUPLED, LANGUAGE, JOINT], ids=lambda model: model["type"])
@torch.inference_mode()
def test_every_dataset_has_its_own_answer_which_folding_keeps(model):
    network = make_network(model)
    folded, features = fold(network), torch.randn(len(make_voxels(1)), 4)
    widths = model.get("num_classes") or [len(rows) for rows in model.get("valid_index") or model["class_names"]]
    answers = {}
    for condition, width in zip(CONDITIONS, widths, strict=True):
        plan = network.plan(batch(condition))
        answers[condition] = network(features, plan)
        assert answers[condition].shape == (len(features), width)
        for _ in range(2):
            torch.testing.assert_close(folded(features, plan), answers[condition], rtol=1e-4, atol=1e-4)
    if model is LANGUAGE:  # sofa is row 4 of the one and row 0 of the other
        assert not torch.allclose(answers["Structured3D"][:, 4], answers["S3DIS"][:, 0], atol=1e-3)


@torch.inference_mode()
def test_language_logits_are_scaled_cosines():
    network = make_network(LANGUAGE)
    features = torch.randn(9, 8)
    network.logit_scale.fill_(1.5)
    projected = network.proj_head(features)
    names = network.class_embedding[[0, 1, 3, 4]]
    expected = torch.e**1.5 * torch.cosine_similarity(projected[:, None], names[None], dim=2)
    torch.testing.assert_close(network.logits(features, 1), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_logits_of_a_cloud_are_the_same_alone_and_in_a_batch():
    network = make_network(DECOUPLED)
    one, two = make_voxels(1), make_voxels(2, 200, batch=1)
    features = torch.randn(len(one) + len(two), 4)
    together = network(features, network.plan(batch("S3DIS", one, two)))
    alone = network(features[: len(one)], network.plan(batch("S3DIS", one)))
    torch.testing.assert_close(together[: len(one)], alone, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_single_dataset_needs_no_name():
    backbone = BACKBONE | {"conditions": ("ScanNet",)}
    network = make_network(DECOUPLED | {"backbone": backbone, "conditions": ("ScanNet",), "num_classes": (4,)})
    features = torch.randn(len(make_voxels(1)), 4)
    named, unnamed = (network(features, network.plan(batch(condition))) for condition in ("ScanNet", None))
    assert torch.equal(named, unnamed)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("Matterport3D", "condition 'Matterport3D' is not among them"),
        (None, "trained for Structured3D, ScanNet, S3DIS, and no condition was given"),
    ],
)
def test_an_unknown_dataset_is_refused(condition, message):
    with pytest.raises(BadRequest, match=message):
        build(DECOUPLED).plan(batch(condition))


@torch.inference_mode()
def test_adaptive_norms_without_a_context_are_refused():
    network = build({"type": "DefaultSegmentor", "backbone": BACKBONE | {"num_classes": 3}})
    with pytest.raises(BadModel, match="norm_adaptive=True reads a context, which a PPT"):
        network(torch.randn(len(make_voxels(1)), 4), network.plan(batch("ScanNet")))


@torch.inference_mode()
def test_norms_by_dataset_serve_without_a_ppt():
    backbone = BACKBONE | {"num_classes": 3, "norm_adaptive": False}
    network = make_network({"type": "DefaultSegmentor", "backbone": backbone})
    features = torch.randn(len(make_voxels(1)), 4)
    scannet, s3dis = (network(features, network.plan(batch(name))) for name in ("ScanNet", "S3DIS"))
    assert scannet.shape == (len(features), 3)
    assert not torch.allclose(scannet, s3dis, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DECOUPLED | {"num_classes": (5, 4)}, "num_classes has 2 entries, conditions 3"),
        (DECOUPLED | {"backbone_out_channels": 9}, "backbone_out_channels is 9, but the backbone gives 8"),
        (DECOUPLED | {"backbone": SPUNET}, "reads no context; PT-v2m3, PT-v3m1, SpUNet-v1m3 do"),
        (DECOUPLED | {"backbone": BACKBONE | {"enc_mode": True}}, "model.backbone: SpUNet-v1m3: enc_mode=True"),
        (DECOUPLED | {"backbone": BACKBONE | {"depth": 1}}, "model.backbone: unknown key depth"),
        (DECOUPLED | {"backbone": {"type": "SpUNet-v9"}}, "model.backbone.type 'SpUNet-v9' is not served natively"),
        (LANGUAGE | {"valid_index": ((0,), (1,), (5,))}, "names a class beyond the 5 of class_name"),
        (
            {key: value for key, value in LANGUAGE.items() if key != "class_name"},
            "model: LanguagePrompts needs class_name, which",
        ),
        (JOINT | {"class_names": (("wall",),)}, "class_names has 1 entries, conditions 3"),
        ({"type": "DefaultSegmentor", "backbone": DECOUPLED}, "model.backbone: PPT-v1m2 is a backbone only with"),
    ],
)
def test_contradictions_are_refused_by_name(model, message):
    with pytest.raises(BadModel, match=message if ".*" in message else re.escape(message)):
        build(model)
