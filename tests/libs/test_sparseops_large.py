"""Kernel maps and convolutions of up to 300,000 voxels, to both ends of the keys."""

import pytest
import sparseops
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from large_clouds import MOST, NUMBERS, by_any_threads, few_examples
from sparseops import COORD_LIMIT, KernelMap, pack_weight, reference, sort_voxels, sparse_conv, strided_map
from sparseops import submanifold_map as submanifold

pytestmark = pytest.mark.skipif(not sparseops.ARCHITECTURES, reason="sparseops is not compiled here")

LAST = COORD_LIMIT - 1
ENDS = torch.tensor([[0, 0, 0, 0], [0, LAST, LAST, LAST], [511, 0, 0, 0], [511, LAST, LAST, LAST]])

# of two places one holds a voxel, at the lower or the upper end of the coordinates; or voxels far apart
VOXELS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "number": NUMBERS,
        "batches": st.sampled_from([1, 3, 512]),
        "flat": st.integers(0, 2),
        "place": st.sampled_from(["low", "high", "wide"]),
        "ascending": st.booleans(),
    }
)
WHOLE = {"seed": 0, "number": MOST, "batches": 3, "flat": 0, "place": "high", "ascending": False}


def voxels_of(seed, number, batches, flat, place, ascending):
    """Distinct voxels, int64 (V, 4), those at the ends of the keys among them unless there are none."""
    generator = torch.Generator().manual_seed(seed)
    axes = 3 - flat
    side = COORD_LIMIT if place == "wide" else min(COORD_LIMIT, int((2 * number / batches) ** (1 / axes)) + 1)
    coords = torch.randint(side, (number, 4), generator=generator)
    coords[:, 1 : 1 + flat] = 0
    coords[:, 1:] += COORD_LIMIT - side if place == "high" else 0
    coords[:, 0] = torch.randint(batches, (number,), generator=generator)
    coords = torch.cat([ENDS[: min(number, 4)], coords[4:]])
    keys, order = reference.pack_keys(coords).sort()
    distinct = order[torch.cat([keys.new_ones(min(number, 1)), keys.diff()]) != 0]
    if not ascending:
        distinct = distinct[torch.randperm(len(distinct), generator=generator)]
    return coords[distinct].contiguous()


@few_examples
@example(voxels=WHOLE, kernel_size=3)
@example(voxels=WHOLE | {"number": 40_000, "flat": 1}, kernel_size=5)
@given(voxels=VOXELS, kernel_size=st.sampled_from([1, 3]))
def test_kernel_maps_are_those_of_the_reference(voxels, kernel_size):
    coords = voxels_of(**voxels)

    def maps():
        coarse, strided = strided_map(coords)
        return submanifold(coords, kernel_size).forwards, coarse, strided.forwards, strided.backwards

    rows, coarse, forwards, backwards = by_any_threads(maps)
    assert torch.equal(rows, reference.submanifold_map(coords, kernel_size).forwards)
    coarse_expected, expected = reference.strided_map(coords)
    assert torch.equal(coarse, coarse_expected)
    assert torch.equal(forwards, expected.forwards)
    assert torch.equal(backwards, expected.backwards)
    assert torch.equal(sort_voxels(coords)[0], reference.pack_keys(coords).argsort(stable=True))


@few_examples
@example(voxels=WHOLE, channels=(40, 24), dtype=torch.float32, kind="3")
@example(voxels=WHOLE, channels=(32, 32), dtype=torch.bfloat16, kind="3")
@given(
    voxels=VOXELS,
    channels=st.tuples(st.sampled_from([1, 6, 32]), st.sampled_from([3, 16, 40])),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    kind=st.sampled_from(["1", "3", "down", "up"]),
)
def test_rows_of_convolutions_are_those_of_the_reference_in_float64(voxels, channels, dtype, kind):
    coords, (in_channels, out_channels) = voxels_of(**voxels), channels
    if kind in ("down", "up"):
        size, kernel_map = 2, strided_map(coords)[1]
        kernel_map = kernel_map if kind == "down" else kernel_map.inverse()
    else:
        size, kernel_map = int(kind), submanifold(coords, int(kind))
    torch.manual_seed(voxels["seed"])
    weight = torch.randn(out_channels, size, size, size, in_channels, dtype=dtype) / in_channels**0.5
    features, bias = torch.randn(kernel_map.num_in, in_channels, dtype=dtype), torch.randn(out_channels)
    residual = torch.randn(kernel_map.num_out, out_channels, dtype=dtype)
    packed = pack_weight(weight)
    (found,) = by_any_threads(lambda: [sparse_conv(features, packed, kernel_map, bias, residual, "relu")])
    rows = torch.randperm(kernel_map.num_out)[:3000]
    doubles = [tensor.double() for tensor in (features, weight.flatten(1, 3), bias, residual[rows])]
    some = KernelMap(kernel_map.forwards[:, rows])
    expected = reference.sparse_conv(doubles[0], doubles[1], some, doubles[2], doubles[3], "relu")
    rounding = 1e-5 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(found[rows].double(), expected, rtol=rounding, atol=1e-5)
