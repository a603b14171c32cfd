"""Levels of coarser voxels: the reference, what a level is, and wrong values."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import (
    ARCHITECTURES,
    CURVES,
    KernelMap,
    cloud_extents,
    coarse_levels,
    reference_levels,
    serialize,
    submanifold_map,
)

NUM_CURVES = len(CURVES)


def scene(seed: int, number: int, clouds: int, side: int) -> tuple[torch.Tensor, list[int], torch.Tensor]:
    """Voxels of ``clouds`` along the z curve, some without any; the clouds' ends; orders along all curves."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randint(0, side, (number, 4), generator=generator)
    coords[:, 0] = (coords[:, 0] % clouds) * 2
    coords = coords.unique(dim=0)
    counts, largest = cloud_extents(coords)
    ends = torch.tensor(counts).cumsum(0).tolist()
    depths = [(each + 1).bit_length() for each in largest]
    found = serialize(coords[:, 1:].contiguous(), coords[:, 0].contiguous(), depths, curves=CURVES)
    return coords[found.orders[0]], ends, found.inverses[0][found.orders].int()


def shifts_of(clouds: int, levels: int) -> list[list[int]]:
    return [[level + 1 + cloud % 3 * level for cloud in range(clouds)] for level in range(levels)]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.integers(1, 400) | st.just(40_000),
    clouds=st.integers(1, 4),
    side=st.sampled_from([1, 2, 9, 60, (1 << 16) - 1]),
    levels=st.integers(1, 4),
    threads=st.sampled_from([1, 3]),
)
def test_compiled_and_reference_agree_on_what_a_level_is(seed, number, clouds, side, levels, threads):
    coords, ends, orders = scene(seed, number, clouds, side)
    shifts = shifts_of(len(ends), levels)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = coarse_levels(coords, ends, shifts, orders)
    finally:
        torch.set_num_threads(before)
    by = torch.tensor(shifts)
    ranks = reference_levels.coarse_ranks(coords, by)
    sizes = [len(level.coords) for level in found]
    rows = reference_levels.coarse_rows(coords, ranks, by, sizes)
    along = reference_levels.coarse_orders(orders, rows[1], sizes)
    parts = zip(*((level.coords, level.parents, level.starts) for level in found), strict=True)
    assert all(torch.equal(torch.cat(part), expected) for part, expected in zip(parts, rows, strict=True))
    parts = zip(*((level.orders.flatten(), level.inverses.flatten()) for level in found), strict=True)
    assert all(torch.equal(torch.cat(part), expected) for part, expected in zip(parts, along, strict=True))

    finer = coords
    for level, own_shifts in zip(found, by, strict=True):
        halved = torch.cat([coords[:, :1], coords[:, 1:] >> own_shifts[coords[:, 0]][:, None]], 1)
        assert torch.equal(level.coords, halved.unique_consecutive(dim=0))
        assert len(level.coords) == len(halved.unique(dim=0))
        assert torch.equal(level.parents.bincount().cumsum(0), level.starts[1:])
        assert torch.equal(level.coords[level.parents, 0], finer[:, 0])
        assert list(level.ends) == level.coords[:, 0].bincount(minlength=len(ends)).cumsum(0).tolist()
        finer = level.coords


def test_coarser_orders_are_those_of_the_codes_that_levels_share():
    coords, ends, _ = scene(1, 3000, 3, 100)
    found = serialize(coords[:, 1:].contiguous(), coords[:, 0].contiguous(), 7, len(ends), CURVES)
    level = coarse_levels(coords, ends, [[2] * len(ends)], found.orders.int())[0]
    firsts = found.codes[:, level.starts[:-1]] >> 6
    assert torch.equal(level.orders, firsts.argsort(1).int())
    assert torch.equal(level.inverses, level.orders.argsort(1).int())
    assert level.orders.shape == (NUM_CURVES, len(level.coords))


@pytest.mark.parametrize("number", [0, 1])
def test_few_voxels(number):
    coords = torch.full((number, 4), 2)
    coords[:, 0] = 0
    ends = [number] * number
    assert cloud_extents(coords) == ((number,) * number, (2,) * number)
    found = coarse_levels(coords, ends, [[1] * number, [2] * number])
    assert [level.coords.tolist() for level in found] == [[[0, 1, 1, 1]] * number, [[0, 0, 0, 0]] * number]
    assert [level.starts.tolist() for level in found] == [list(range(number + 1))] * 2
    assert [level.orders.shape for level in found] == [(0, number)] * 2
    assert coarse_levels(coords, ends, []) == []


def test_extents_of_clouds_in_any_order():
    coords = torch.tensor([[2, 5, 0, 0], [0, 1, 9, 3], [2, 0, 0, 0], [511, 1 << 40, 0, 0]])
    counts, largest = cloud_extents(coords)
    assert (counts[:4], largest[:4]) == ((1, 0, 2, 0), (9, 0, 5, 0))
    assert (len(counts), counts[511], largest[511]) == (512, 1, (1 << 31) - 1)
    assert torch.equal(reference_levels.cloud_extents(coords)[:512].T, torch.tensor([counts, largest]))


@pytest.mark.parametrize("wrong", [[512, 0, 0, 0], [-1, 0, 0, 0], [0, 0, -1, 0]])
def test_extents_name_wrong_values(wrong):
    coords = torch.tensor([[0, 1, 2, 3], wrong])
    with pytest.raises(ValueError, match=r"clouds lie in \[0, 512\), got \["):
        cloud_extents(coords)
    assert reference_levels.cloud_extents(coords)[512, 0] == 1


@pytest.mark.parametrize("shifts", [[[1]], [[1, 1], [2, 0]], [[1, -1]], [[1, 63]], [[1, 1]] * 17])
def test_wrong_shifts_are_named(shifts):
    with pytest.raises(ValueError, match="shifts must"):
        coarse_levels(torch.zeros(4, 4, dtype=torch.int64), [2, 4], shifts)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_middle_of_a_kernel_map_is_that_of_a_smaller_kernel(kernel_size):
    coords = scene(3, 500, 2, 12)[0]
    found = submanifold_map(coords, 5).inner(kernel_size)
    assert isinstance(found, KernelMap)
    assert found.forwards.is_contiguous()
    assert torch.equal(found.forwards, submanifold_map(coords, kernel_size).forwards)


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
def test_the_operators_are_registered_as_torch_wants_them():
    coords, ends, orders = scene(3, 50, 2, 9)
    by = torch.tensor(shifts_of(len(ends), 2))
    operators, sizes = torch.ops.sparseops, [len(level.coords) for level in coarse_levels(coords, ends, by.tolist())]
    ranks = operators.coarse_ranks(coords, by)
    for operator, arguments in [
        (operators.cloud_extents, (coords,)),
        (operators.coarse_ranks, (coords, by)),
        (operators.coarse_rows, (coords, ranks, by, sizes)),
        (operators.coarse_orders, (orders, operators.coarse_rows(coords, ranks, by, sizes)[1], sizes)),
    ]:
        torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))
