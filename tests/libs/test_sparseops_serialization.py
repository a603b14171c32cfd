"""Serialization codes and their orders: goldens, the reference, and what a curve promises."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import ARCHITECTURES, CURVES, reference_serial, serialization_depth, serialize, sort_codes

GOLDEN = Path(__file__).parents[1] / "golden" / "serialization"
OPERATORS = [reference_serial] + ([torch.ops.sparseops] if ARCHITECTURES else [])
NUMBERS = list(range(len(CURVES)))


def golden() -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(values)
        for file in ("input.npz", "output.npz")
        for name, values in np.load(GOLDEN / file).items()
    }


def points(seed: int, num_points: int, depth: int) -> torch.Tensor:
    return torch.randint(0, 1 << depth, (num_points, 3), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("operators", OPERATORS, ids=str)
@pytest.mark.parametrize("depth", [1, 3, 8, 9, 12, 16])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_codes_are_the_goldens(operators, depth, dtype):
    case = golden()
    coord, batch = case[f"grid_coord_{depth}"].to(dtype), case[f"batch_{depth}"]
    codes = operators.serialization_codes(coord, batch, None, depth, NUMBERS)
    for row, curve in enumerate(CURVES):
        assert torch.equal(codes[row], case[f"{curve}_{depth}"])


@pytest.mark.parametrize("operators", OPERATORS, ids=str)
def test_orders_are_the_goldens(operators):
    case = golden()
    orders, inverses = operators.sort_codes(case["cloud_code"], 3 * int(case["cloud_depth"]) + 1)
    assert torch.equal(orders, case["cloud_order"])
    assert torch.equal(inverses, case["cloud_inverse"])


def test_a_cloud_is_serialized_as_in_the_goldens():
    case = golden()
    depth = serialization_depth(case["cloud_grid_coord"])
    assert depth == case["cloud_depth"]
    got = serialize(case["cloud_grid_coord"], case["cloud_batch"], depth)
    assert torch.equal(got.codes, case["cloud_code"])
    assert torch.equal(got.orders, case["cloud_order"])
    assert torch.equal(got.inverses, case["cloud_inverse"])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_points=st.integers(0, 400) | st.sampled_from([127, 128, 129, 70_000]),
    depth=st.integers(1, 16),
    num_clouds=st.integers(1, 5) | st.just(1 << 15),
    curves=st.lists(st.sampled_from(CURVES), min_size=1, max_size=5),
    dtype=st.sampled_from([torch.int32, torch.int64]),
    threads=st.sampled_from([1, 2, 5]),
)
def test_compiled_and_reference_agree(seed, num_points, depth, num_clouds, curves, dtype, threads):
    coord = points(seed, num_points, depth).to(dtype)
    batch = torch.randint(0, num_clouds, (num_points,), generator=torch.Generator().manual_seed(seed))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = serialize(coord, batch, depth, num_clouds, curves)
    finally:
        torch.set_num_threads(before)
    numbers = [CURVES.index(curve) for curve in curves]
    codes = reference_serial.serialization_codes(coord, batch, None, depth, numbers)
    orders, inverses = reference_serial.sort_codes(codes, 63)
    assert torch.equal(got.codes, codes)
    assert torch.equal(got.orders, orders)
    assert torch.equal(got.inverses, inverses)
    assert got.codes.shape == (len(curves), num_points)
    if num_points:
        assert int(got.codes.max()) < 1 << got.num_bits


@pytest.mark.parametrize("num_bits", [1, 10, 11, 20, 47, 48, 55, 63])
def test_a_sort_by_any_number_of_bits_is_stable(num_bits):
    codes = torch.randint(0, 1 << 62, (3, 1000), generator=torch.Generator().manual_seed(num_bits)) >> 62 - num_bits
    codes[:, ::3] = codes[:, :1]  # many of equal code
    orders, inverses = sort_codes(codes.clamp_(max=(1 << num_bits) - 1), num_bits)
    assert torch.equal(orders, codes.argsort(dim=1, stable=True))
    assert torch.equal(orders.gather(1, inverses), torch.arange(1000).expand(3, -1))


@pytest.mark.parametrize("curve", ["hilbert", "hilbert-trans"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_hilbert_curve_steps_to_a_neighbour_and_meets_every_voxel(curve, depth):
    side = torch.arange(1 << depth)
    coord = torch.cartesian_prod(side, side, side).contiguous()
    got = serialize(coord, depth=depth, curves=[curve])
    assert torch.equal(got.codes[0, got.orders[0]], torch.arange(len(coord)))
    assert (coord[got.orders[0]].diff(dim=0).abs().sum(1) == 1).all()


@pytest.mark.parametrize("curve", CURVES)
def test_codes_of_coarser_voxels_are_the_high_bits(curve):
    coord = points(7, 500, 9)
    fine = serialize(coord, depth=9, curves=[curve]).codes
    coarse = serialize(coord >> 1, depth=8, curves=[curve]).codes
    if curve.startswith("z"):
        assert torch.equal(fine >> 3, coarse)
    else:  # the order of the axes turns with the depth, the eighths of the cloud stay together
        assert len(torch.stack([fine[0] >> 3, coarse[0]]).unique(dim=1).T) == len(coarse.unique())


def test_each_cloud_can_have_its_own_depth():
    clouds = [points(seed, 300, depth) for seed, depth in enumerate([4, 9, 6])]
    batch = torch.repeat_interleave(torch.arange(3), 300)
    together = serialize(torch.cat(clouds), batch, torch.tensor([4, 9, 6]))
    assert all(map(torch.equal, serialize(torch.cat(clouds), batch, [4, 9, 6])[:3], together[:3]))
    for index, (cloud, depth) in enumerate(zip(clouds, [4, 9, 6], strict=True)):
        alone = serialize(cloud, depth=depth)
        rows = slice(300 * index, 300 * index + 300)
        assert torch.equal(together.codes[:, rows], alone.codes + (index << 27))
        assert torch.equal(together.orders[:, rows], alone.orders + 300 * index)
        assert torch.equal(together.inverses[:, rows], alone.inverses + 300 * index)


def test_the_last_of_63_bits_can_be_used():
    coord = torch.full((2, 3), (1 << 16) - 1, dtype=torch.int32)
    batch = torch.tensor([(1 << 15) - 1, 0])
    got = serialize(coord, batch, 16, curves=["z"])
    assert got.num_bits == 63
    assert got.codes[0].tolist() == [(1 << 63) - 1, (1 << 48) - 1]
    assert got.orders[0].tolist() == [1, 0]


def test_no_points_have_no_order():
    got = serialize(torch.empty(0, 3, dtype=torch.int32))
    assert got.codes.shape == got.orders.shape == got.inverses.shape == (4, 0)
    assert serialize(torch.empty(0, 3, dtype=torch.int32), torch.empty(0, dtype=torch.int64)).codes.shape == (4, 0)


COORD = torch.zeros(4, 3, dtype=torch.int32)
BATCH = torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid_coord": COORD[:, :2]}, r"grid_coord must be \(N, 3\), got \(4, 2\)"),
        ({"grid_coord": COORD.float()}, "int32 or int64, got torch.float32"),
        ({"grid_coord": torch.zeros(3, 4, dtype=torch.int32).T}, "contiguous"),
        ({"grid_coord": COORD, "depth": 17}, "depth must be 1 to 16, got 17"),
        ({"grid_coord": COORD, "depth": 0}, "depth must be 1 to 16, got 0"),
        ({"grid_coord": COORD + (1 << 16) - 1}, "depth must be 1 to 16, got 17"),
        ({"grid_coord": COORD - 1, "depth": 3}, "got -1 to -1"),
        ({"grid_coord": COORD + 8, "depth": 3}, r"must lie in \[0, 2\*\*3\)"),
        ({"grid_coord": COORD, "batch": BATCH[:3]}, r"batch must be contiguous int64 \(4,\)"),
        ({"grid_coord": COORD, "batch": BATCH.int()}, "got torch.int32"),
        ({"grid_coord": COORD, "batch": BATCH + 2, "num_clouds": 2}, r"batch must lie in \[0, 2\), got 2 to 2"),
        ({"grid_coord": COORD, "batch": BATCH - 1}, "got -1 to -1"),
        ({"grid_coord": COORD, "num_clouds": 2}, "without a batch"),
        ({"grid_coord": COORD[:0], "batch": BATCH[:0], "num_clouds": 0}, "num_clouds must be at least 1, got 0"),
        ({"grid_coord": COORD, "batch": BATCH + (1 << 15), "depth": 16}, "need 64 bits, 63 are there"),
        ({"grid_coord": COORD, "curves": ["peano"]}, "got 'peano'"),
        (
            {"grid_coord": COORD, "batch": BATCH, "depth": torch.tensor([3, 4])},
            r"depth must be contiguous int64 \(1,\)",
        ),
        ({"grid_coord": COORD + 4, "batch": BATCH + 1, "depth": torch.tensor([4, 2])}, "outside its own"),
        ({"grid_coord": COORD, "depth": torch.tensor([0])}, "depth must be 1 to 16, got 0"),
        ({"grid_coord": COORD, "depth": [0]}, "depth must be 1 to 16, got 0"),
        ({"grid_coord": COORD, "batch": BATCH, "depth": [3, 17]}, "depth must be 1 to 16, got 17"),
        ({"grid_coord": COORD, "batch": BATCH, "depth": []}, "a number for each of 1 clouds, got 0"),
        ({"grid_coord": COORD, "batch": BATCH, "depth": [3, 4], "num_clouds": 3}, "each of 3 clouds, got 2"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        serialize(**arguments)


@pytest.mark.parametrize(
    ("codes", "num_bits", "message"),
    [
        (torch.zeros(2, 3), 9, "int64"),
        (torch.zeros(3, dtype=torch.int64), 9, r"\(K, N\), got torch.int64 \(3,\)"),
        (torch.zeros(3, 2, dtype=torch.int64).T, 9, "contiguous"),
        (torch.zeros(2, 3, dtype=torch.int64), 64, "num_bits must be 1 to 63, got 64"),
    ],
)
def test_wrong_codes_are_named(codes, num_bits, message):
    with pytest.raises(ValueError, match=message):
        sort_codes(codes, num_bits)


@pytest.mark.parametrize("index", [-7, 2, 5, 1 << 40])
def test_unchecked_clouds_out_of_range_do_no_harm(index):
    batch = torch.tensor([0, index, 1, 0])
    got = serialize(COORD + 1, batch, torch.tensor([7, 6]), num_clouds=2, check=False)
    assert torch.equal(got.orders.sort().values, torch.arange(4).expand(4, -1))
    right = serialize(COORD + 1, batch.clamp(0, 1), torch.tensor([7, 6]), num_clouds=2)
    assert torch.equal(got.codes[:, [0, 2, 3]], right.codes[:, [0, 2, 3]])


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
@pytest.mark.parametrize("check", [False, True])
def test_torch_compile_sees_through(check):
    def ordered(coord: torch.Tensor, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = serialize(coord + 1, batch, 7, 2, check=check)
        return found.codes, found.orders, found.inverses, *sort_codes(found.codes >> 3)

    coord, batch = points(3, 50, 6), torch.arange(50) // 25
    compiled = torch.compile(ordered, backend="aot_eager", fullgraph=True)
    assert all(map(torch.equal, compiled(coord, batch), ordered(coord, batch)))


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
def test_the_operators_are_registered_as_torch_wants_them():
    coord = points(3, 50, 6)
    operators = torch.ops.sparseops
    for operator, arguments in [
        (operators.serialization_codes, (coord, None, None, 6, NUMBERS)),
        (operators.sort_codes, (serialize(coord).codes, 18)),
    ]:
        torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))
