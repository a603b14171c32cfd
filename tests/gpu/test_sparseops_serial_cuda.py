"""Serialization, segment reductions and patches on a CUDA device against the reference on the processor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import CURVES, patch_padding, reference_serial, segment_reduce, serialize, sort_codes

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden"
REDUCTIONS = reference_serial.REDUCTIONS


def same(got: torch.Tensor, expected: torch.Tensor) -> bool:
    assert got.is_cuda
    assert got.dtype == expected.dtype
    return torch.equal(got.cpu(), expected)


def test_the_golden_codes():
    case = dict(np.load(GOLDEN / "serialization/input.npz")) | dict(np.load(GOLDEN / "serialization/output.npz"))
    case = {name: torch.from_numpy(values) for name, values in case.items()}
    for depth in (1, 3, 8, 9, 12, 16):
        got = serialize(case[f"grid_coord_{depth}"].cuda(), case[f"batch_{depth}"].cuda(), depth)
        for row, curve in enumerate(CURVES):
            assert same(got.codes[row], case[f"{curve}_{depth}"])
    got = serialize(case["cloud_grid_coord"].cuda(), case["cloud_batch"].cuda(), int(case["cloud_depth"]))
    assert same(got.codes, case["cloud_code"])
    assert same(got.orders, case["cloud_order"])
    assert same(got.inverses, case["cloud_inverse"])


@settings(max_examples=examples(40), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_points=st.integers(0, 3000) | st.sampled_from([100_000, 300_000]),
    depth=st.integers(1, 16),
    num_clouds=st.integers(1, 5) | st.just(1 << 15),
    curves=st.lists(st.sampled_from(CURVES), min_size=1, max_size=5),
    dtype=st.sampled_from([torch.int32, torch.int64]),
)
def test_orders_are_the_reference(seed, num_points, depth, num_clouds, curves, dtype):
    generator = torch.Generator().manual_seed(seed)
    coord = torch.randint(0, 1 << depth, (num_points, 3), generator=generator).to(dtype)
    batch = torch.randint(0, num_clouds, (num_points,), generator=generator)
    numbers = [CURVES.index(curve) for curve in curves]
    codes = reference_serial.serialization_codes(coord, batch, None, depth, numbers)
    orders, inverses = reference_serial.sort_codes(codes, 63)
    for check in (True, False):
        got = serialize(coord.cuda(), batch.cuda(), depth, num_clouds, curves, check)
        assert same(got.codes, codes)
        assert same(got.orders, orders)
        assert same(got.inverses, inverses)


def test_each_cloud_can_have_its_own_depth():
    depths = torch.tensor([4, 9, 6])
    batch = torch.repeat_interleave(torch.arange(3), 300)
    coord = torch.randint(0, 1 << 9, (900, 3)) & ((1 << depths[batch]) - 1)[:, None]
    got, expected = serialize(coord.cuda(), batch.cuda(), depths.cuda()), serialize(coord, batch, depths)
    assert all(same(one, other) for one, other in zip(got[:3], expected[:3], strict=True))


@pytest.mark.parametrize("num_bits", [1, 8, 33, 62, 63])
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_sorts_of_any_number_of_bits_are_stable(num_bits, rows):
    codes = torch.randint(0, 1 << 62, (rows, 50_000)) >> 62 - min(num_bits, 62)
    codes[:, ::3] = 1
    got = sort_codes(codes.cuda(), num_bits)
    assert all(same(*pair) for pair in zip(got, reference_serial.sort_codes(codes, num_bits), strict=True))


def test_nothing_is_read_back_where_all_is_given():
    coord, batch = torch.zeros(9, 3, dtype=torch.int32).cuda(), torch.zeros(9, dtype=torch.int64).cuda()
    values, offsets = torch.ones(9, 2).cuda(), torch.tensor([0, 9]).cuda()
    ends = torch.tensor([9])
    torch.cuda.set_sync_debug_mode("error")
    try:
        serialize(coord, batch, 4, 2, check=False)
        segment_reduce(values, offsets, "mean")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert patch_padding(ends, 4, "cuda").pad.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7]


def test_unchecked_clouds_out_of_range_do_no_harm():
    batch, coord = torch.tensor([0, -7, 5, 1 << 40]).cuda(), torch.ones(4, 3, dtype=torch.int32).cuda()
    got = serialize(coord, batch, torch.tensor([7, 6]).cuda(), num_clouds=2, check=False)
    assert got.orders.sort().values.tolist() == [[0, 1, 2, 3]] * 4


def test_gradients_of_a_reduction_are_those_of_the_processor():
    values, offsets = torch.randn(12, 3, requires_grad=True), torch.tensor([0, 4, 4, 5, 12])
    (expected,) = torch.autograd.grad(segment_reduce(values, offsets, "mean").square().sum(), values)
    on_device = values.detach().cuda().requires_grad_()
    (found,) = torch.autograd.grad(segment_reduce(on_device, offsets.cuda(), "mean").square().sum(), on_device)
    torch.testing.assert_close(found.cpu(), expected)


def test_values_out_of_range_are_named():
    coord = torch.full((4, 3), 8, dtype=torch.int32).cuda()
    with pytest.raises(ValueError, match="got 8 to 8"):
        serialize(coord, depth=3)
    with pytest.raises(ValueError, match="batch must be on cuda:0"):
        serialize(coord, torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@settings(max_examples=examples(25), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 40) | st.sampled_from([3000, 100_000]), max_size=30),
    channels=st.sampled_from([0, 1, 3, 32, 33, 64, 130]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
def test_reductions_are_the_reference(reduction, seed, lengths, channels, dtype):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    values = torch.randn(int(offsets[-1]), channels, generator=torch.Generator().manual_seed(seed)).to(dtype)
    got = segment_reduce(values.cuda(), offsets.cuda(), reduction)
    expected = reference_serial.segment_reduce(values, offsets, REDUCTIONS.index(reduction))
    assert got.dtype == dtype
    # sums of a long segment are formed in another order before they are rounded
    torch.testing.assert_close(got.cpu(), expected)
    if reduction in ("max", "min"):
        assert torch.equal(got.cpu(), expected)
    assert torch.equal(got, segment_reduce(values.cuda(), offsets.cuda(), reduction))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("rows", [3, 500])
def test_a_nan_shows_in_its_segment_alone(reduction, rows):
    values = torch.ones(2 * rows, 2)
    values[rows // 2, 0] = torch.nan
    got = segment_reduce(values.cuda(), torch.tensor([0, rows, 2 * rows]).cuda(), reduction)
    assert got.isnan().tolist() == [[True, False], [False, False]]


def test_offsets_out_of_range_read_nothing_outside():
    offsets = torch.tensor([-5, 2, 1, 99, 1 << 60, -(1 << 60)]).cuda()
    assert segment_reduce(torch.ones(4, 2).cuda(), offsets, "sum")[:, 0].tolist() == [2, 0, 3, 0, 0]


@settings(max_examples=examples(40), deadline=None)
@given(counts=st.lists(st.integers(0, 3000), max_size=80), patch_size=st.integers(1, 1024))
def test_padding_is_the_reference(counts, patch_size):
    offset = torch.tensor(counts, dtype=torch.int64).cumsum(0)
    got, expected = patch_padding(offset, patch_size, "cuda"), patch_padding(offset, patch_size)
    assert all(same(one, other) for one, other in zip(got, expected, strict=True))
