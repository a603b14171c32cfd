"""SpUNet-v1m1: what it accepts, and that a cloud's answer does not depend on its company."""

import pytest
import torch

from app.errors import BadModel
from app.networks.fold import fold
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch

MODEL = {
    "type": "DefaultSegmentor",
    "backbone": {
        "type": "SpUNet-v1m1",
        "in_channels": 4,
        "num_classes": 5,
        "base_channels": 8,
        "channels": (8, 12, 16, 16, 12, 8),
        "layers": (1, 1, 2, 1, 1, 1),
    },
    "criteria": [{"type": "CrossEntropyLoss"}],
}


def with_backbone(**changes) -> dict:
    return MODEL | {"backbone": MODEL["backbone"] | changes}


def voxels(seed: int, num_voxels: int, batch: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randint(0, 20, (num_voxels, 3), generator=generator).unique(dim=0)
    return torch.cat([torch.full((len(grid), 1), batch), grid], 1)


@torch.inference_mode()
def test_logits_of_a_cloud_are_the_same_alone_and_in_a_batch():
    torch.manual_seed(0)
    network = build(MODEL)
    one, two = voxels(1, 900), voxels(2, 300, batch=1)
    features = torch.randn(len(one) + len(two), 4)
    together = network(features, network.plan(VoxelBatch(torch.cat([one, two]))))
    alone = network(features[: len(one)], network.plan(VoxelBatch(one)))
    torch.testing.assert_close(together[: len(one)], alone, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_order_of_the_voxels_does_not_matter():
    torch.manual_seed(0)
    network = build(MODEL)
    coords = voxels(1, 700)
    features, order = torch.randn(len(coords), 4), torch.randperm(len(coords))
    expected = network(features, network.plan(VoxelBatch(coords)))[order]
    torch.testing.assert_close(
        network(features[order], network.plan(VoxelBatch(coords[order]))), expected, rtol=1e-4, atol=1e-5
    )


@torch.inference_mode()
def test_folding_changes_nothing_but_the_time():
    torch.manual_seed(0)
    network = build(MODEL)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for values in (module.weight, module.bias, module.running_mean):
                values.copy_(torch.randn_like(values))
            module.running_var.copy_(torch.rand_like(module.running_var) + 0.5)
    coords = voxels(1, 900)
    features, plan = torch.randn(len(coords), 4), network.plan(VoxelBatch(coords))
    expected, names = network(features, plan), set(network.state_dict())
    torch.testing.assert_close(fold(network)(features, plan), expected, rtol=1e-4, atol=1e-4)
    assert set(network.state_dict()) == names
    assert torch.equal(network(features, plan), expected)


@torch.inference_mode()
def test_one_voxel_is_enough():
    network = build(MODEL)
    assert network(torch.randn(1, 4), network.plan(VoxelBatch(torch.zeros(1, 4, dtype=torch.int64)))).shape == (1, 5)


def test_without_classes_the_last_features_come_out():
    network = build(with_backbone(num_classes=0))
    coords = voxels(0, 50)
    assert network(torch.randn(len(coords), 4), network.plan(VoxelBatch(coords))).shape == (len(coords), 8)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"type": "NoSuchSegmentor"}, "model.type 'NoSuchSegmentor' is not served natively; served so are "),
        (with_backbone(type="Swin3D-v1m1"), "model.backbone.type 'Swin3D-v1m1' is not served natively"),
        ({"type": "DefaultSegmentor"}, "model.backbone must be a dict"),
        (with_backbone(depth=3), "model.backbone: unknown key depth; SpUNet accepts in_channels"),
        (with_backbone(layers=(1, 1)), "channels and layers must have the same even length, got 6 and 2"),
        (with_backbone(cls_mode=True), "only cls_mode=False is served"),
        (MODEL | {"colour": 1}, "model: unknown key colour"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(model, message):
    with pytest.raises(BadModel, match=message.replace("(", r"\(").replace(")", r"\)")):
        build(model)
