"""PointTransformer-Seg: upstream's logits, clouds by themselves, widths that only the weights tell."""

import pytest
import torch

from app.errors import BadModel
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from app.zoo import loading
from tests.networks.models.ptv1 import model
from tests.networks.network_samples import make_network
from tests.networks.point_samples import (
    assert_folding_keeps_answers,
    assert_golden,
    assert_same_alone_and_beside_others,
    join,
    make_cloud,
)


def test_logits_are_upstreams():
    assert_golden("ptv1_seg26_narrow")


def test_a_cloud_is_answered_the_same_alone_and_beside_others():
    assert_same_alone_and_beside_others(make_network(model()), 4)


def test_folding_changes_nothing_but_the_time():
    assert_folding_keeps_answers(make_network(model()), 4)


@torch.inference_mode()
def test_points_in_chunks_come_out_as_in_one_piece(monkeypatch):
    network, batch = make_network(model()), join([make_cloud(1, 700)])
    x, plan = torch.randn(len(batch.voxels), 4), network.plan(batch)
    expected = network(x, plan)
    monkeypatch.setattr("app.networks.ptv1.CHUNK_POINTS", 64)
    torch.testing.assert_close(network(x, plan), expected, rtol=1e-3, atol=1e-3)


def test_widths_are_read_from_the_weights():
    weights = make_network(model(38)).state_dict()
    told = {key: value for key, value in model(38)["backbone"].items() if key != "planes"}
    network = loading.build({"type": "DefaultSegmentor", "backbone": told}, weights)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("size", "blocks"), [(26, 5 + 5), (38, 9 + 5), (50, 13 + 5)])
def test_depths_are_those_of_the_type(size, blocks):
    assert sum(name.endswith(".bn3.weight") for name in build(model(size)).state_dict()) == blocks


def test_positions_are_needed():
    with pytest.raises(ValueError, match="plans for positions, and the batch has voxels only"):
        build(model()).plan(VoxelBatch(make_cloud(1, 9)[0]))


@pytest.mark.parametrize("planes", [(8, 16), (8, 16, 16, 16, 20)])
def test_widths_that_cannot_share_weights_are_refused(planes):
    with pytest.raises(BadModel, match="planes must be 5 multiples of 8"):
        build(model(planes=planes))
