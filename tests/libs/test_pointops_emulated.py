"""The CUDA sources of pointops, run on the processor by emulated threads."""

import emulation
import pytest
import torch
from point_scenes import assert_same
from pointops import reference
from pointops_samples import assert_close, crowded, golden, points_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)]
OPERATORS = torch.ops.pointops_emulated
SIZES = [[70], [0, 1, 0], [33, 0, 90, 31], [300]]


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"], autouse=True)
def kernels(request):
    emulation.emulated("pointops").set_backwards(request.param)
    with emulation.poisoned():
        yield


def test_the_goldens_are_met():
    data, expected = golden("op_knn_query")
    xyz, offset, queries, query_offset = data["xyz"], data["offset"].long(), data["new_xyz"], data["new_offset"].long()
    assert torch.equal(OPERATORS.knn_query(xyz, offset, xyz, offset, 16)[0], expected["self_idx"])
    assert torch.equal(OPERATORS.knn_query(xyz, offset, queries, query_offset, 8)[0], expected["new_idx"])
    data, expected = golden("op_ball_query")
    assert torch.equal(OPERATORS.ball_query(xyz, offset, xyz, offset, 12, 0.0, 0.5, None)[0], expected["self_idx"])
    found = OPERATORS.ball_query(xyz, offset, queries, query_offset, 6, 0.3, 0.9, None)
    assert torch.equal(found[0], expected["new_idx"])
    data, expected = golden("op_farthest_point_sampling")
    samples = data["new_offset"].long()
    found = OPERATORS.farthest_point_sampling(data["xyz"], data["offset"].long(), samples, int(samples[-1]))
    assert torch.equal(found, expected["idx"])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (1e6, False, True)])
@pytest.mark.parametrize("k", [1, 4, 8, 11, 16, 29, 77])
def test_knn_query_is_the_reference(sizes, side, lattice, broken, k):
    xyz, offset = points_of(k, sizes, side, -3.0, 0, lattice, broken)
    queries, query_offset = points_of(k + 1, sizes[::-1], side, -3.0, 1, lattice, broken)
    arguments = xyz, offset, queries, query_offset, k
    assert_same(OPERATORS.knn_query(*arguments), reference.knn_query(*arguments))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (9.0, False, True)])
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("radii", [(0.0, 1.1), (1.0, 4.0), (0.0, 1e30)])
def test_ball_query_is_the_reference(sizes, side, lattice, broken, ranked, radii):
    xyz, offset = points_of(1, sizes, side, -3.0, 0, lattice, broken)
    rank = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0)).int() if ranked else None
    arguments = xyz, offset, xyz, offset, 10, *radii, rank
    expected = reference.ball_query(*arguments)
    assert_same(OPERATORS.ball_query(*arguments), expected)  # in parts: the emulated code holds 64 candidates at a time


@pytest.mark.parametrize("sizes", [*SIZES, [1500, 2]])
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (1e6, False, True)])
def test_farthest_point_sampling_is_the_reference(sizes, side, lattice, broken):
    xyz, offset = points_of(1, sizes, side, -3.0, 0, lattice, broken)
    counts = torch.tensor([min(size, 50) + (size > 0) for size in sizes])
    arguments = xyz, offset, counts.cumsum(0), int(counts.sum())
    assert torch.equal(OPERATORS.farthest_point_sampling(*arguments), reference.farthest_point_sampling(*arguments))


@pytest.mark.parametrize(("places", "jitter", "alone"), [(1, 0.0, 0.0), (2, 0.0, 0.2), (2, 1e-7, 0.2)])
@pytest.mark.parametrize("k", [1, 16, 40])
def test_crowds_have_the_neighbours_of_the_reference(places, jitter, alone, k):
    xyz, offset = crowded(k, [700, 0, 100], places, jitter, alone)
    queries, query_offset = crowded(k, [90, 10, 40], places, jitter, alone)
    for asked in ((xyz, offset), (queries, query_offset)):
        assert_same(OPERATORS.knn_query(xyz, offset, *asked, k), reference.knn_query(xyz, offset, *asked, k))


@pytest.mark.parametrize(("places", "alone"), [(1, 0.0), (3, 0.2), (1, 1.0)])
@pytest.mark.parametrize("ranked", [False, True])
def test_crowds_have_the_balls_of_the_reference(places, alone, ranked):
    xyz, offset = crowded(places, [300, 0, 100], places, 0.0, alone)
    rank = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0)).int() if ranked else None
    queries, query_offset = crowded(places, [90, 10, 40], places, 0.0, alone)
    for asked in ((xyz, offset), (queries, query_offset)):
        arguments = xyz, offset, *asked, 10, 0.05, 0.3, rank
        assert_same(OPERATORS.ball_query(*arguments), reference.ball_query(*arguments))


@pytest.mark.parametrize("offset", [[-5, 9, 3], [200, 100, 1 << 60], [0, 0, 1], [64, -(1 << 60), 100]])
def test_offsets_that_do_not_fit_read_nothing_outside(offset):
    xyz, offset, right = torch.rand(100, 3), torch.tensor(offset), torch.tensor([40, 60, 100])
    for arguments in ((xyz, offset, xyz, right), (xyz, right, xyz, offset), (xyz, offset, xyz, offset)):
        idx, _ = OPERATORS.knn_query(*arguments, 8)
        assert ((idx >= -1) & (idx < 100)).all()
        idx, _ = OPERATORS.ball_query(*arguments, 8, 0.0, 0.4, None)
        assert ((idx >= -1) & (idx < 100)).all()
    idx = OPERATORS.farthest_point_sampling(xyz, offset, torch.tensor([-1, 9, 5]), 5)
    assert (idx < 100).all()


def test_features_are_the_reference():
    generator = torch.Generator().manual_seed(0)
    table, index = torch.randn(30, 10, generator=generator), torch.randint(-1, 30, (20, 5), generator=generator).int()
    wrong = index.clone()
    wrong[0, 0], wrong[1, 1] = 30, -9
    missing = index.clone()
    missing[0, 0] = missing[1, 1] = -1

    assert torch.equal(OPERATORS.gather(table, wrong), reference.gather(table, missing))
    own = torch.randn(20, 10, generator=generator)
    assert torch.equal(OPERATORS.subtract(own, table, wrong), reference.subtract(own, table, missing))

    weight = torch.randn(20, 5, generator=generator)
    assert_close(OPERATORS.row_sum(table, wrong, weight), reference.row_sum(table, missing, weight))
    position = torch.randn(20, 5, 10, generator=generator, requires_grad=True)
    weight = torch.randn(20, 5, 4, generator=generator, requires_grad=True)
    expected = reference.aggregate(table, position, weight, missing)
    assert_close(OPERATORS.aggregate(table, position.detach(), weight.detach(), wrong), expected.detach())
    incoming = torch.randn(20, 10, generator=generator)
    found = OPERATORS.aggregate_backward(table, position.detach(), weight.detach(), wrong, incoming)
    for one, other in zip(found, torch.autograd.grad(expected, (position, weight), incoming), strict=True):
        assert_close(one, other)


def test_attention_is_the_reference():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 20, 3, 4, generator=generator)
    target, refer = torch.randint(-1, 20, (2, 50), generator=generator).int()
    channel, weight = torch.randn(4, generator=generator), torch.randn(50, 3, generator=generator)
    arguments = query, key, target, refer, channel
    assert_close(OPERATORS.edge_dot(*arguments), reference.edge_dot(*arguments))
    found = OPERATORS.edge_sum(key, target, refer, weight, 20, 1, 4)
    assert_close(found, reference.group_sum(weight, key, target, refer))
