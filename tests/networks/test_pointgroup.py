"""PointGroup: instances of voxels whose middles hang together."""

import re

import pytest
import torch

from app.errors import BadModel
from app.networks.fold import fold
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from tests.networks.network_samples import SPUNET, make_network, make_voxels

MODEL = {
    "type": "PG-v1m2",
    "backbone": SPUNET,
    "criteria": [{"type": "CrossEntropyLoss"}],
    "freeze_backbone": True,
    "backbone_out_channels": 8,
    "semantic_num_classes": 4,
    "semantic_ignore_index": -1,
    "segment_ignore_index": (-1, 0),
    "instance_ignore_index": -1,
    "cluster_thresh": 1.5,
    "cluster_closed_points": 300,
    "cluster_propose_points": 4,
    "cluster_min_points": 3,
    "voxel_size": 0.1,
}


def blob(middle_m: float, num_voxels: int) -> torch.Tensor:
    """A row of voxels 0.1 m apart."""
    steps = torch.arange(num_voxels)[:, None] * torch.tensor([[0.1, 0.0, 0.0]])
    return steps + torch.tensor([middle_m, 0, 0])


def probabilities(labels: list[int], share: float = 0.7) -> torch.Tensor:
    rest = (1 - share) / 3
    return torch.full((len(labels), 4), rest).index_put(
        (torch.arange(len(labels)), torch.tensor(labels, dtype=torch.int64)), torch.tensor(share)
    )


def test_groups_of_one_class_that_are_large_enough_are_instances():
    middles = torch.cat([blob(0, 6), blob(5, 6), blob(10, 6), blob(15, 4), blob(20, 8)])
    labels = [1] * 6 + [0] * 6 + [2] * 6 + [1] * 4 + [3] * 4 + [2] * 4  # the last row is two classes, side by side
    found = build(MODEL | {"cluster_propose_points": 3}).instances(probabilities(labels), middles, [30])
    expected = [0] * 6 + [-1] * 6 + [1] * 6 + [2] * 4 + [3] * 4 + [4] * 4
    assert found.of_voxel.tolist() == expected
    assert found.classes.tolist() == [1, 2, 1, 3, 2]
    torch.testing.assert_close(found.scores, torch.full((5,), 0.7))


def test_an_instance_has_more_voxels_than_are_proposed():
    middles = torch.cat([blob(0, 5), blob(5, 4), blob(10, 2)])
    found = build(MODEL).instances(probabilities([1] * 11), middles, [11])
    assert found.of_voxel.tolist() == [0] * 5 + [-1] * 6


def test_the_score_is_the_mean_probability_of_the_class():
    found = build(MODEL).instances(
        torch.cat([probabilities([1] * 2, 0.5), probabilities([1] * 4, 0.8)]), blob(0, 6), [6]
    )
    torch.testing.assert_close(found.scores, torch.tensor([0.7]))


def test_clouds_of_a_batch_have_instances_of_their_own():
    middles = torch.cat([blob(0, 5), blob(9, 1), blob(0, 6)])
    labels = probabilities([1] * 5 + [0] + [1] * 6)
    together = build(MODEL).instances(labels, middles, [5, 1, 6])
    assert together.of_voxel.tolist() == [0] * 5 + [-1] + [1] * 6
    alone = build(MODEL).instances(labels[6:], middles[6:], [6])
    assert (alone.of_voxel + 1).tolist() == together.of_voxel[6:].tolist()


@pytest.mark.parametrize("labels", [[0] * 5, []])
def test_nothing_to_group_gives_no_instances(labels):
    found = build(MODEL).instances(probabilities(labels), blob(0, len(labels)), [len(labels)])
    assert found.of_voxel.tolist() == [-1] * len(labels)
    assert len(found.classes) == len(found.scores) == 0


@torch.inference_mode()
def test_votes_are_the_logits_and_offsets_and_folding_keeps_them():
    network = make_network(MODEL)
    coords = make_voxels(1)
    features, plan = torch.randn(len(coords), 4), network.plan(VoxelBatch(coords))
    logits, offsets = network.logits_and_offsets(features, plan)
    assert torch.equal(network(features, plan), logits)
    assert offsets.shape == (len(coords), 3)
    for folded, plain in zip(fold(network).logits_and_offsets(features, plan), (logits, offsets), strict=True):
        torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_ppt_may_be_the_backbone():
    prompted = {
        "type": "PPT-v1m1",
        "backbone": SPUNET | {"type": "SpUNet-v1m3", "context_channels": 5, "conditions": ("A", "B")},
        "criteria": [],
        "backbone_out_channels": 8,
        "context_channels": 5,
        "conditions": ("B", "A"),
        "class_name": ("wall",),
        "valid_index": ((0,), (0,)),
        "backbone_mode": True,
    }
    network = make_network(MODEL | {"backbone": prompted})
    coords = make_voxels(1)
    features = torch.randn(len(coords), 4)
    first, second = (network(features, network.plan(VoxelBatch(coords, condition=name))) for name in "AB")
    assert first.shape == (len(coords), 4)
    assert not torch.allclose(first, second, atol=1e-3)
    assert not any(name.startswith("backbone.proj_head") for name in network.state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone_out_channels": 64}, "model: backbone_out_channels is 64, but the backbone gives 8"),
        ({"voxel_size": 0}, "voxel_size and cluster_thresh must be positive, got 0 and 1.5"),
        ({"num_classes": 3}, "model: unknown key num_classes; PointGroup accepts backbone"),
    ],
)
def test_contradictions_are_refused_by_name(changes, message):
    with pytest.raises(BadModel, match=re.escape(message)):
        build(MODEL | changes)
