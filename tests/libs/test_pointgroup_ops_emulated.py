"""The CUDA source of the ball query, run on the processor by emulated threads."""

from contextlib import nullcontext

import emulation
import pytest
import torch
from point_scenes import assert_same
from pointgroup_ops import reference
from pointgroup_samples import RADIUS, clouds_of, golden, points_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)]
OPERATORS = torch.ops.pointgroup_ops_emulated


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"], autouse=True)
def kernels(request):
    emulation.emulated("pointgroup_ops").set_backwards(request.param)
    with emulation.poisoned():
        yield


@pytest.mark.parametrize("side", [0.0, 0.4, 5.0, 60.0, 1e7, 1e30])
@pytest.mark.parametrize("lattice", [False, True])
def test_ball_query_is_the_reference(side, lattice):
    sizes = [70, 0, 1, 95]
    for radius in (1.0, 2.0):
        coords = points_of(3, sizes, side, -2.0, 0, lattice, broken=lattice)
        arguments = (coords, *clouds_of(sizes), radius)
        assert_same(OPERATORS.ball_query(*arguments), reference.ball_query(*arguments))


def test_ball_query_meets_the_golden():
    given, expected = golden("input"), golden("output")
    found = OPERATORS.ball_query(given["xyz"], given["batch_idxs"], given["batch_offsets"], RADIUS)
    assert_same(found, (expected["idx"], expected["start_len"]))


@pytest.mark.parametrize("number", [999, 1001])
def test_a_point_keeps_its_first_thousand_neighbours(number):
    coords = torch.rand(number + 40, 3, generator=torch.Generator().manual_seed(number)) * 0.57
    coords[:40] += 100
    arguments = (coords, *clouds_of([0, number + 40]), 1.0)
    expected = reference.ball_query(*arguments)
    assert expected[1][:, 1].max() == min(number, 1000)
    assert_same(OPERATORS.ball_query(*arguments), expected)


@pytest.mark.parametrize(
    ("batch_idxs", "batch_offsets", "wrong"),
    [
        ([0, 0, 1, 1, 1], [0, 2, 5], False),
        ([0, 0, 1, 1, 2], [0, 2, 5], True),
        ([0, -1, 1, 1, 1], [0, 2, 5], True),
        ([0, 0, 1, 1, 1], [0, 2, 4], True),
        ([0, 0, 1, 1, 1], [1, 2, 5], True),
        ([0, 0, 2, 2, 2], [0, 9, 2, 5], True),
        ([0, 0, 1, 1, 1], [0, 3, 5], True),
        ([0, 0, 0, 0, 0], [0, 5, *[5] * 300], False),
        ([0, 0, 0, 0, 0], [0, 5, *[5] * 300, 6], True),
    ],
)
def test_clouds_that_do_not_fit_are_noticed(batch_idxs, batch_offsets, wrong):
    clouds = torch.tensor(batch_idxs).int(), torch.tensor(batch_offsets).int()
    with pytest.raises(ValueError, match="batch_") if wrong else nullcontext():
        OPERATORS.ball_query(torch.rand(5, 3), *clouds, 1.0)
