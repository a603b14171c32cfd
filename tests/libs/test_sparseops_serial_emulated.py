"""The CUDA sources of serialization, segments, patches and grids, run on the processor by emulated threads; only CUB's
sort and sum are stood in for."""

import emulation
import pytest
import sparseops
import torch
from sparseops import reference_grid
from sparseops import reference_serial as reference

pytestmark = [pytest.mark.slow, pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)]
OPERATORS = torch.ops.sparseops_emulated


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"], autouse=True)
def kernels(request):
    emulation.emulated("sparseops").set_backwards(request.param)
    with emulation.poisoned():
        yield


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@pytest.mark.parametrize("depth", [1, 7, 16])
@pytest.mark.parametrize("num_points", [0, 1, 300])
@pytest.mark.parametrize("clouds", [None, "one depth", "own depths"])
def test_codes_are_the_reference(depth, num_points, clouds):
    generator = torch.Generator().manual_seed(depth)
    curves = [2, 0, 3, 1, 2]
    depths = torch.randint(1, depth + 1, (num_points,), generator=generator) if clouds == "own depths" else None
    coord = torch.randint(0, 1 << 16, (num_points, 3), generator=generator)
    coord = (coord & ((1 << (depth if depths is None else depths[:, None])) - 1)).int()
    batch = torch.randint(0, 9, (num_points,), generator=generator) if clouds else None
    arguments = coord, batch, depths, depth, curves
    assert torch.equal(OPERATORS.serialization_codes(*arguments), reference.serialization_codes(*arguments))


@pytest.mark.parametrize(("rows", "num_points", "num_bits"), [(1, 1, 3), (4, 500, 30), (4, 300, 63), (3, 0, 9)])
def test_orders_are_the_reference(rows, num_points, num_bits):
    generator = torch.Generator().manual_seed(rows)
    codes = torch.randint(0, 1 << 62, (rows, num_points), generator=generator) >> 62 - min(num_bits, 62)
    codes[:, ::3] = 5
    assert_same(OPERATORS.sort_codes(codes, num_bits), reference.sort_codes(codes, num_bits))


@pytest.mark.parametrize("reduction", range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("lengths", [[], [0], [5, 0, 1, 9, 0], [700, 0, 3, 65], [900]])
@pytest.mark.parametrize("channels", [1, 33])
def test_reductions_are_the_reference(reduction, dtype, lengths, channels):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    values = torch.randn(int(offsets[-1]), channels, generator=torch.Generator().manual_seed(1)).to(dtype)
    values[1:2] = torch.nan
    got = OPERATORS.segment_reduce(values, offsets, reduction)
    expected = reference.segment_reduce(values, offsets, reduction)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_offsets_out_of_range_read_nothing_outside():
    values, offsets = torch.ones(4, 2), torch.tensor([-5, 2, 1, 99, 1 << 60, -(1 << 60)])
    assert OPERATORS.segment_reduce(values, offsets, 0)[:, 0].tolist() == [2, 0, 3, 0, 0]


@pytest.mark.parametrize("patch_size", [1, 4, 48, 300])
@pytest.mark.parametrize("counts", [[], [0, 0], [1], [48, 0, 49, 300, 0], [7] * 70 + [100], [3, 5, 1] * 32])
def test_padding_is_the_reference(counts, patch_size):
    offset = torch.tensor(counts, dtype=torch.int64).cumsum(0)
    patches = [-(-count // patch_size) for count in counts]
    num_padded = sum(
        patches_of * patch_size if patches_of > 1 else count for patches_of, count in zip(patches, counts, strict=True)
    )
    arguments = offset, patch_size, sum(counts), num_padded, sum(patches)
    assert_same(OPERATORS.patch_padding(*arguments), reference.patch_padding(*arguments))


@pytest.mark.parametrize("curves", [[], [0], [2, 0, 3], [3, 1]])
@pytest.mark.parametrize("depths", [[5], [4, 1, 7]])
@pytest.mark.parametrize("num_points", [0, 1, 600])
def test_voxels_are_ordered_as_curve_by_curve(curves, depths, num_points):
    generator = torch.Generator().manual_seed(num_points)
    batch = torch.randint(0, len(depths), (num_points, 1), generator=generator)
    within = (1 << torch.tensor(depths))[batch]
    coords = torch.cat([batch, torch.randint(0, 1 << 16, (num_points, 3), generator=generator) % within], 1)
    found = OPERATORS.ordered_voxels(coords, depths, curves)
    assert_same(found, sparseops.ordered_voxels(coords, depths, [sparseops.CURVES[curve] for curve in curves]))


def test_patches_of_levels_are_those_of_each():
    counts = [[300, 0, 49, 48, 1], [60, 0, 7, 9, 0], [0, 0, 0, 0, 0]]
    ends = [torch.tensor(own).cumsum(0).tolist() for own in counts]
    sizes, curves = [48, 1, 5], [3, 1, 2]
    orders, inverses = [], []
    for level, own in enumerate(counts):
        cuts, starts = torch.tensor(own), torch.tensor([0, *ends[level][:-1]])
        rows = [
            torch.cat([torch.randperm(n) + start for n, start in zip(cuts.tolist(), starts.tolist(), strict=True)])
            for _ in range(curves[level])
        ]
        orders.append(torch.stack(rows).int())
        inverses.append(orders[-1].argsort(1).int())
    found = OPERATORS.serial_patches(orders, [end for own in ends for end in own], sizes)
    for level, expected in enumerate(sparseops.level_patches(orders, inverses, ends, sizes)):
        assert_same([each[level] for each in found], expected)
    with pytest.raises(ValueError, match="clouds must end with the 0 points"):
        OPERATORS.serial_patches(orders[::-1], [end for own in ends for end in own], sizes)


@pytest.mark.parametrize("hash_number", [0, 1])
@pytest.mark.parametrize(("num_points", "scale"), [(1, 1.0), (600, 0.6), (900, 1e9)])
def test_grid_samples_are_the_reference(hash_number, num_points, scale):
    coord = torch.randn(num_points, 3, generator=torch.Generator().manual_seed(num_points), dtype=torch.float64) * scale
    arguments = coord, [0.3, 0.2, 0.5], hash_number
    assert_same(OPERATORS.grid_sample(*arguments), reference_grid.grid_sample(*arguments))
    coord[num_points // 2, 1] = float("nan")
    with pytest.raises(ValueError, match="finite and within"):
        OPERATORS.grid_sample(*arguments)
