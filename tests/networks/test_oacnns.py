"""OACNNs: upstream's logits, clouds by themselves, and what a joint batch shares."""

import pytest
import torch

from app.errors import BadModel
from app.networks.oacnns import halved
from app.networks.registry import build
from tests.networks.models.oacnns import model
from tests.networks.network_samples import make_network
from tests.networks.point_samples import (
    assert_folding_keeps_answers,
    assert_golden,
    assert_same_alone_and_beside_others,
    join,
    make_cloud,
)


def test_logits_are_upstreams():
    assert_golden("oacnns_narrow")


def test_a_cloud_is_answered_the_same_alone_and_beside_others():
    assert_same_alone_and_beside_others(make_network(model()), 4)


def test_folding_changes_nothing_but_the_time():
    assert_folding_keeps_answers(make_network(model()), 4)


def test_the_last_slice_of_an_odd_extent_has_no_coarser_voxel():
    coords = torch.tensor([[0, 0, 0, 0], [0, 3, 1, 0], [0, 4, 0, 0], [0, 1, 2, 1]])
    shape = torch.tensor([5, 3, 2]) // 2
    coarse, down = halved(coords, shape.expand(4, 3))
    assert coarse.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    assert (down.forwards >= 0).sum(0).tolist() == [1, 1]
    assert (down.inverse().forwards >= 0).sum(0).tolist() == [1, 1, 0, 0]
    assert down.forwards[0, 0] == 0
    assert down.forwards[0b110, 1] == 1  # (3, 1, 0) is at the remainder (1, 1, 0)


@torch.inference_mode()
def test_a_joint_scene_has_one_extent():
    network = build(model())
    odd, even = make_cloud(1, 900, side=13), make_cloud(2, 900, side=16)
    alone = sum(network.plan(join([cloud])).levels[0].down.num_out for cloud in (odd, even))
    assert network.plan(join([odd, even])).levels[0].down.num_out == alone
    assert network.plan(join([odd, even], joint=True)).levels[0].down.num_out > alone


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"point_grid_size": ((4, 8),)}, "enc_channels has 2 stages, but point_grid_size has 1"),
        ({"num_stages": 2}, "unknown key num_stages; OACNNs accepts in_channels"),
    ],
)
def test_contradictions_are_refused_by_name(changes, message):
    with pytest.raises(BadModel, match=message):
        build(model(**changes))
