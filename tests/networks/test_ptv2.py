"""PT-v2m1, m2 and m3: upstream's logits, clouds by themselves, norms by dataset."""

import pytest
import torch

from app.errors import BadModel, BadRequest
from app.networks.ptv2 import pool
from app.networks.registry import build
from app.networks.vector_attention import GroupedLinear
from app.networks.voxel_batch import VoxelBatch
from tests.networks.models.ptv2 import BACKBONE, PROMPTED, model
from tests.networks.network_samples import make_network
from tests.networks.point_samples import (
    assert_folding_keeps_answers,
    assert_golden,
    assert_same_alone_and_beside_others,
    join,
    make_cloud,
)


@pytest.mark.parametrize("case", ["ptv2m2_interp", "ptv2m3_decoupled"])
def test_logits_are_upstreams(case):
    assert_golden(case)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"unpool_backend": "map"}, {}),
        ({"unpool_backend": "interp", "pe_multiplier": True, "pe_bias": False}, {}),
        ({"type": "PT-v2m1", "attn_qkv_bias": False}, {}),
        (PROMPTED, {"condition": "S3DIS"}),
    ],
)
def test_a_cloud_is_answered_the_same_alone_and_beside_others(changes, options):
    network = make_network(model(**changes))
    assert_same_alone_and_beside_others(network, 4, **options)
    assert_folding_keeps_answers(network, 4, **options)


def test_cells_start_at_the_lowest_corner_of_each_cloud():
    coord = torch.tensor([[5.0, 5, 5], [5.9, 5, 5], [6.1, 5, 5], [-3, 0, 0], [-2.1, 0, 0.95]])
    clouds = torch.tensor([0, 0, 0, 1, 1])
    means, coarse_clouds, ends, pooling = pool(coord, clouds, torch.tensor([3, 5]), 1.0, interpolates=False)
    assert pooling.cells.part.tolist() == [0, 0, 1, 2, 2]
    assert (coarse_clouds.tolist(), ends.tolist()) == ([0, 0, 1], [2, 3])
    torch.testing.assert_close(means, torch.tensor([[5.45, 5, 5], [6.1, 5, 5], [-2.55, 0, 0.475]]))


@torch.inference_mode()
@pytest.mark.parametrize("changes", [{}, {"norm_affine": False}, {"norm_decouple": False}])
def test_norms_know_the_datasets_where_they_are_told_apart(changes):
    network = make_network(model(**PROMPTED | changes))
    one, other = (join([make_cloud(1, 300)], condition=condition) for condition in PROMPTED["conditions"])
    x = torch.randn(len(one.voxels), 4)
    same = torch.equal(network(x, network.plan(one)), network(x, network.plan(other)))
    assert same == (changes == {"norm_decouple": False})


@torch.inference_mode()
def test_scores_of_a_group_are_made_of_its_own_channels():
    layer = GroupedLinear(6, 3)
    x = torch.randn(4, 6)
    expected = torch.stack([x[:, start : start + 2] @ layer.weight[0, start : start + 2] for start in (0, 2, 4)], 1)
    torch.testing.assert_close(layer(x), expected)


@torch.inference_mode()
def test_under_prompt_training_the_context_of_the_dataset_is_heard():
    backbone = BACKBONE | PROMPTED | {"norm_adaptive": True, "num_classes": 0, "context_channels": 6}
    network = make_network(
        {
            "type": "PPT-v1m2",
            "backbone": backbone,
            "backbone_out_channels": 8,
            "context_channels": 6,
            "conditions": ("ScanNet", "S3DIS"),
            "num_classes": (5, 5),
        }
    )
    batch = join([make_cloud(1, 300)], condition="S3DIS")
    x = torch.randn(len(batch.voxels), 4)
    before = network(x, network.plan(batch))
    network.embedding_table.weight[0] += 1
    assert torch.equal(network(x, network.plan(batch)), before)
    network.embedding_table.weight[1] += 1
    assert not torch.allclose(network(x, network.plan(batch)), before)
    with pytest.raises(BadRequest, match="was trained for ScanNet, S3DIS"):
        network.plan(join([make_cloud(1, 9)], condition="Waymo"))


@torch.inference_mode()
def test_adaptive_norms_without_a_context_are_refused():
    network = build(model(**PROMPTED | {"norm_adaptive": True}))
    batch = join([make_cloud(1, 9)], condition="S3DIS")
    with pytest.raises(BadModel, match="reads a context, which a PPT around it gives"):
        network(torch.randn(len(batch.voxels), 4), network.plan(batch))


def test_positions_are_needed():
    with pytest.raises(ValueError, match="PT-v2 plans for positions"):
        build(model()).plan(VoxelBatch(make_cloud(1, 9)[0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid_sizes": (0.1,)}, "enc_depths has 2 stages, but grid_sizes has 1"),
        ({"unpool_backend": "knn"}, "unpool_backend must be map or interp, got 'knn'"),
        ({"enc_groups": (4, 5)}, "channels must be a multiple of their groups, got 24 and 5"),
    ],
)
def test_contradictions_are_refused_by_name(changes, message):
    with pytest.raises(BadModel, match=message):
        build(model(**changes))
