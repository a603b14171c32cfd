"""Orders, segments, patches and patch attention of up to 300,000 points, codes of up to 63 bits."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from large_clouds import MOST, NUMBERS, SHARES, by_any_threads, few_examples, sizes_of
from point_scenes import assert_same
from sparseops import (
    ARCHITECTURES,
    CURVES,
    patch_attention,
    patch_padding,
    reference_serial,
    segment_reduce,
    serialize,
    sort_codes,
)

pytestmark = pytest.mark.skipif(not ARCHITECTURES, reason="sparseops is not compiled here")
REDUCTIONS = reference_serial.REDUCTIONS


@few_examples
@example(number=MOST, depth=16, num_clouds=1 << 15, dtype=torch.int32)
@given(
    number=NUMBERS,
    depth=st.sampled_from([1, 5, 10, 16]),
    num_clouds=st.sampled_from([1, 3, 1 << 15]),
    dtype=st.sampled_from([torch.int32, torch.int64]),
)
def test_codes_and_orders_are_those_of_the_reference(number, depth, num_clouds, dtype):
    generator = torch.Generator().manual_seed(number)
    coord = torch.randint(1 << depth, (number, 3), generator=generator, dtype=dtype)
    coord[number // 2 :] = (1 << depth) - 1
    batch = torch.randint(num_clouds, (number,), generator=generator)
    found = by_any_threads(lambda: serialize(coord, batch, depth, num_clouds)[:3])
    codes = reference_serial.serialization_codes(coord, batch, None, depth, list(range(len(CURVES))))
    assert_same(found, (codes, *reference_serial.sort_codes(codes, 63)))


@few_examples
@example(number=MOST, num_bits=63)
@given(number=NUMBERS, num_bits=st.sampled_from([1, 11, 33, 48, 63]))
def test_sorts_are_stable(number, num_bits):
    codes = torch.randint(1 << 62, (3, number), generator=torch.Generator().manual_seed(num_bits))
    codes = (codes << 1 | 1) >> 63 - num_bits
    codes[:, ::3] = codes[:, :1].clone()  # many of equal code
    found = by_any_threads(lambda: sort_codes(codes, num_bits))
    assert_same(found, reference_serial.sort_codes(codes, num_bits))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@few_examples
@example(number=MOST, shares=[0, 1, 0], channels=3, dtype=torch.float32)
@given(
    number=NUMBERS,
    shares=SHARES | st.just([1, 0] * 100_000),
    channels=st.sampled_from([1, 5, 16]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_segments_are_those_of_the_reference(reduction, number, shares, channels, dtype):
    offsets = torch.tensor([0, *sizes_of(number, shares)]).cumsum(0)
    values = torch.randn(number, channels, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = by_any_threads(lambda: [segment_reduce(values, offsets, reduction)])
    assert_same(found, [reference_serial.segment_reduce(values, offsets, REDUCTIONS.index(reduction))])


@few_examples
@example(number=MOST, shares=[1, 0, 3, 2], patch_size=1024)
@given(number=NUMBERS, shares=SHARES, patch_size=st.sampled_from([1, 48, 1024]))
def test_padding_is_that_of_the_reference(number, shares, patch_size):
    offset = torch.tensor(sizes_of(number, shares)).cumsum(0)
    found = by_any_threads(lambda: patch_padding(offset, patch_size))
    sizes = len(found[1]), len(found[0]), len(found[2]) - 1
    assert_same(found, reference_serial.patch_padding(offset, patch_size, *sizes))
    assert torch.equal(found[0][found[1]], torch.arange(number))


@few_examples
@example(number=MOST, shares=[1, 0, 3, 2], patch_size=128, heads=2, dim=16)
@given(
    number=NUMBERS,
    shares=SHARES,
    patch_size=st.sampled_from([1, 16, 100]),
    heads=st.integers(1, 2),
    dim=st.sampled_from([5, 16, 24]),
)
def test_attention_of_patches_is_that_of_torch_in_float64(number, shares, patch_size, heads, dim):
    _, _, starts = patch_padding(torch.tensor(sizes_of(number, shares)).cumsum(0), patch_size)
    qkv = torch.randn(int(starts[-1]), 3, heads, dim, generator=torch.Generator().manual_seed(0))
    (found,) = by_any_threads(lambda: [patch_attention(qkv, starts)])
    num_patches = len(starts) - 1
    for patch in torch.randperm(num_patches)[:60].tolist() + [num_patches - 1] * (num_patches > 0):
        rows = slice(int(starts[patch]), int(starts[patch + 1]))
        query, key, value = qkv[rows].double().permute(1, 2, 0, 3)
        weights = (dim**-0.5 * query @ key.transpose(1, 2)).softmax(-1)
        expected = (weights @ value).transpose(0, 1).flatten(1)
        torch.testing.assert_close(found[rows].double(), expected, rtol=1e-5, atol=1e-5)
