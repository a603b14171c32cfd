"""Kernel maps and sparse convolution on a CUDA device: maps as the reference has them, sums against float64."""

import pytest
import sparseops
import torch
from effort import examples, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import COORD_LIMIT, KernelMap, reference, sparse_conv, strided_map, strided_maps, submanifold_map
from sparseops_samples import KINDS, TOLERANCES, arithmetic, poison, relative_error, voxels

pytestmark = pytest.mark.gpu


def assert_same_map(found: KernelMap, expected: KernelMap) -> None:
    assert torch.equal(found.forwards.cpu(), expected.forwards)
    assert (found.backwards is None) == (expected.backwards is None)
    if expected.backwards is not None:
        assert torch.equal(found.backwards.cpu(), expected.backwards)


def exact(features, weight, kernel_map, bias=None, residual=None, activation="none") -> torch.Tensor:
    """In float64 on the processor, from the rounded operands."""
    wide = [None if tensor is None else tensor.double() for tensor in (bias, residual)]
    return reference.sparse_conv(features.double(), weight.double().flatten(1, 3), kernel_map, *wide, activation)


def operands(kernel_map: KernelMap, in_channels: int, out_channels: int, kernel_size: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(in_channels * 1000 + out_channels)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    weight = normal(out_channels, *[kernel_size] * 3, in_channels) / (kernel_size**3 * in_channels) ** 0.5
    features, residual = normal(kernel_map.num_in, in_channels), normal(kernel_map.num_out, out_channels)
    return features.to(dtype), weight.to(dtype), normal(out_channels), residual.to(dtype)


def check(kind: str, kernel_map: KernelMap, in_channels: int, out_channels: int, kernel_size: int) -> None:
    with arithmetic(kind) as dtype:
        features, weight, bias, residual = operands(kernel_map, in_channels, out_channels, kernel_size, dtype)
        on_device = [tensor.cuda() for tensor in (features, weight)]
        there = kernel_map.to("cuda")
        extras = [tensor.cuda() for tensor in (bias, residual)]
        poison(kernel_map.num_out, out_channels, dtype=dtype)
        found = sparse_conv(*on_device, there, *extras, "relu")
        assert found.dtype == dtype
        assert relative_error(found, exact(features, weight, kernel_map, bias, residual, "relu")) < TOLERANCES[kind]
        poison(kernel_map.num_out, out_channels, dtype=dtype)
        assert torch.equal(sparse_conv(*on_device, there, *extras, "relu"), found)
        plain = sparse_conv(*on_device, there)
        assert relative_error(plain, exact(features, weight, kernel_map)) < TOLERANCES[kind]


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 10**6), number=st.integers(0, 3000), size=st.sampled_from([2, 9, 40, COORD_LIMIT]))
def test_submanifold_maps(kernel_size, seed, number, size):
    coords = voxels(seed, number, size)
    expected = reference.submanifold_map(coords, kernel_size)
    assert_same_map(submanifold_map(coords.cuda(), kernel_size), expected)


def test_submanifold_map_of_many_voxels_in_and_out_of_order():
    coords = voxels(0, 300_000, 90)
    for given_coords in (coords, sparseops.sort_voxels(coords)[1]):
        expected = submanifold_map(given_coords, 3)  # the processor's, held to the reference by its own tests
        assert_same_map(submanifold_map(given_coords.cuda(), 3), expected)


def test_voxels_at_the_border_do_not_meet_across_it():
    ends = torch.tensor([0, 1, 2, COORD_LIMIT - 2, COORD_LIMIT - 1])
    coords = torch.cartesian_prod(torch.tensor([0, 1, 511]), ends, ends, ends)
    for kernel_size in (3, 5):
        expected = reference.submanifold_map(coords, kernel_size)
        assert_same_map(submanifold_map(coords.cuda(), kernel_size), expected)


@settings(max_examples=examples(25), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.sampled_from([0, 1, 5, 1023, 1024, 1025, 20_000]),
    size=st.sampled_from([2, 9, 60, COORD_LIMIT]),
    ascending=st.booleans(),
)
def test_strided_maps(seed, number, size, ascending):
    coords = voxels(seed, number, size)
    if ascending:
        coords = sparseops.sort_voxels(coords)[1]
    expected_coarse, expected = reference.strided_map(coords)
    coarse, found = strided_map(coords.cuda())
    assert torch.equal(coarse.cpu(), expected_coarse)
    assert_same_map(found, expected)


@settings(max_examples=examples(15), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.sampled_from([0, 1, 5, 1023, 1024, 1025, 20_000]),
    size=st.sampled_from([2, 9, 60, COORD_LIMIT]),
    ascending=st.booleans(),
)
def test_strided_maps_of_all_levels(seed, number, size, ascending):
    coords = voxels(seed, number, size)
    if ascending:
        coords = sparseops.sort_voxels(coords)[1]
    levels = zip(strided_maps(coords, 5), strided_maps(coords.cuda(), 5), strict=True)
    for (expected_coarse, expected), (coarse, found) in levels:
        assert torch.equal(coarse.cpu(), expected_coarse)
        assert_same_map(found, expected)


def test_strided_maps_refuse_what_is_outside_or_twice():
    coords = voxels(0, 50, 9)
    with pytest.raises(ValueError, match="voxel coordinates must lie in"):
        strided_maps(torch.cat([coords, torch.tensor([[0, 0, COORD_LIMIT, 0]])]).cuda(), 2)
    with pytest.raises(ValueError, match="more than once"):
        strided_maps(torch.cat([coords, coords[7:8]]).cuda(), 2)
    with pytest.raises(ValueError, match="voxel coordinates must lie in"):
        strided_map(torch.cat([coords, torch.tensor([[0, 0, COORD_LIMIT, 0]])]).cuda())
    with pytest.raises(ValueError, match="more than once"):
        strided_map(torch.cat([coords, coords[7:8]]).cuda())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("in_channels", "out_channels"),
    [(3, 5), (5, 3), (12, 17), (17, 12), (16, 32), (32, 32), (64, 64), (96, 96), (40, 130), (128, 128), (64, 256)],
)
def test_submanifold_convolution(kind, in_channels, out_channels):
    kernel_map = submanifold_map(voxels(1, rows(5000), 18), 3)
    check(kind, kernel_map, in_channels, out_channels, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_wide_channels(kind):
    kernel_map = submanifold_map(voxels(2, rows(20_000), 30), 3)
    check(kind, kernel_map, 256, 256, 3)
    check(kind, kernel_map, 96, 96, 3)
    check(kind, kernel_map, 72, 136, 3)
    check(kind, kernel_map, 24, 320, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 2, 63, 64, 65, 127, 128, 129, 200])
def test_few_voxels(kind, number):
    coords = voxels(3, 4 * number, 30)[:number]
    for out_channels in (8, 64, 128):
        check(kind, submanifold_map(coords, 3), 32, out_channels, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_other_kernels(kind):
    coords = voxels(4, rows(20_000), 40)
    check(kind, submanifold_map(coords, 5), 6, 32, 5)
    check(kind, submanifold_map(coords, 1), 32, 64, 1)
    _, down = strided_map(coords)
    check(kind, down, 32, 64, 2)
    check(kind, down.inverse(), 64, 32, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_no_voxels(kind):
    kernel_map = submanifold_map(torch.empty(0, 4, dtype=torch.int64), 3).to("cuda")
    with arithmetic(kind) as dtype:
        features, weight = torch.empty(0, 16, dtype=dtype), torch.randn(32, 3, 3, 3, 16).to(dtype)
        assert sparse_conv(features.cuda(), weight.cuda(), kernel_map).shape == (0, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_grouped_rows_give_the_same_bits(kind):
    kernel_map = submanifold_map(voxels(5, rows(30_000), 45), 3).to("cuda")
    order, columns = kernel_map.grouped
    assert torch.equal(order.sort().values, torch.arange(len(order), device="cuda", dtype=torch.int32))
    assert torch.equal(columns, kernel_map.forwards[:, order.long()])
    with arithmetic(kind) as dtype:
        features, weight, bias, _ = operands(kernel_map, 64, 96, 3, dtype)
        given_operands = (features.cuda(), weight.flatten(1, 3).cuda(), 96)
        grouped = torch.ops.sparseops.sparse_conv_grouped(*given_operands, columns, order, bias.cuda(), None, 0)
        plain = torch.ops.sparseops.sparse_conv(*given_operands, kernel_map.forwards, bias.cuda(), None, 0)
        assert torch.equal(grouped, plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [64, 96, 128, 256])
def test_many_voxels_give_the_same_bits_again_and_in_other_tiles(kind, channels):
    kernel_map = submanifold_map(voxels(12, 100_000, 60).cuda(), 3)
    few = 32 if kind in ("float32", "tf32") else 64  # output channels, of a narrower tile
    with arithmetic(kind) as dtype:
        features, weight, _, _ = (tensor.cuda() for tensor in operands(kernel_map, channels, channels, 3, dtype))
        found = sparse_conv(features, weight, kernel_map)
        for _ in range(3):
            assert torch.equal(sparse_conv(features, weight, kernel_map), found)
        assert torch.equal(sparse_conv(features, weight[:few].contiguous(), kernel_map), found[:, :few])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [32, 64, 96, 256])
@pytest.mark.parametrize("number", [40, 500, 4000])  # a block a multiprocessor and fewer, and a few on each
def test_a_cloud_alone_and_in_a_batch_gives_the_same_bits(kind, channels, number):
    alone = voxels(10, number, round(number ** (1 / 3)) + 2, batches=1)
    other = voxels(11, rows(30_000), 45, batches=1) + torch.tensor([1, 0, 0, 0])
    together = torch.cat([alone, other])
    maps = [submanifold_map(coords.cuda(), 3) for coords in (alone, together)]
    with arithmetic(kind) as dtype:
        features, weight, bias, _ = (tensor.cuda() for tensor in operands(maps[1], channels, channels, 3, dtype))
        found = sparse_conv(features[: len(alone)].contiguous(), weight, maps[0], bias)
        assert torch.equal(sparse_conv(features, weight, maps[1], bias)[: len(alone)], found)


@pytest.mark.parametrize("channels", [32, 64])
def test_rows_that_are_none_of_the_features_count_as_absent(channels):
    kernel_map = submanifold_map(voxels(6, 1000, 12), 3)
    features, weight, _, _ = operands(kernel_map, channels, channels, 3, torch.float16)
    wrong = kernel_map.forwards.clone()
    wrong[5, ::3], wrong[9, ::2] = kernel_map.num_in, -(2**31)
    absent = kernel_map.forwards.clone()
    absent[5, ::3] = absent[9, ::2] = -1
    found = sparse_conv(features.cuda(), weight.cuda(), KernelMap(wrong.cuda()))
    assert torch.equal(found, sparse_conv(features.cuda(), weight.cuda(), KernelMap(absent.cuda())))


@pytest.mark.parametrize(("in_channels", "out_channels"), [(0, 16), (16, 0), (0, 0), (0, 5)])
def test_no_channels_give_zeros_and_what_is_added(in_channels, out_channels):
    kernel_map = submanifold_map(voxels(7, 900, 12), 3).to("cuda")
    features = torch.rand(kernel_map.num_in, in_channels, device="cuda")
    weight = torch.rand(out_channels, 3, 3, 3, in_channels, device="cuda")
    bias = torch.rand(out_channels, device="cuda")
    residual = -2 * torch.rand(kernel_map.num_out, out_channels, device="cuda")
    found = sparse_conv(features, weight, kernel_map, bias, residual, "relu")
    assert torch.equal(found, (bias + residual).relu())


def test_too_many_channels_are_named_with_the_limit():
    kernel_map = KernelMap(torch.zeros(1, 1, dtype=torch.int32, device="cuda"))
    features, weight = torch.zeros(1, 16392, device="cuda"), torch.zeros(8, 1, 1, 1, 16392, device="cuda")
    with pytest.raises(ValueError, match="weight has 16392 input channels at 1 offsets; the limits are 16384 channels"):
        sparse_conv(features, weight, kernel_map)


def test_memory_that_is_not_aligned():
    kernel_map = submanifold_map(voxels(7, 900, 12), 3)
    features, weight, _, _ = operands(kernel_map, 16, 32, 3, torch.float16)
    shifted = torch.empty(features.numel() + 1, dtype=torch.float16, device="cuda")[1:].view(features.shape)
    shifted.copy_(features)
    found = sparse_conv(shifted, weight.cuda(), kernel_map.to("cuda"))
    assert relative_error(found, exact(features, weight, kernel_map)) < TOLERANCES["float16"]


def test_another_stream():
    coords = voxels(8, rows(50_000), 60)
    expected = submanifold_map(coords, 3)
    with torch.cuda.stream(torch.cuda.Stream()):
        found = submanifold_map(coords.cuda(), 3)
        features, weight, _, _ = operands(expected, 32, 32, 3, torch.float16)
        out = sparse_conv(features.cuda(), weight.cuda(), found)
        torch.cuda.current_stream().synchronize()
    assert_same_map(found, expected)
    assert relative_error(out, exact(features, weight, expected)) < TOLERANCES["float16"]


def test_fake_tensors_have_the_shapes_of_the_real():
    kernel_map = submanifold_map(voxels(9, 500, 12), 3).to("cuda")
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.sparseops.group_rows.default, ([kernel_map.forwards],), test_utils=tests)
    features, weight, bias, residual = (tensor.cuda() for tensor in operands(kernel_map, 16, 32, 3, torch.float16))
    order, columns = kernel_map.grouped
    arguments = (features, weight.flatten(1, 3), 32, columns, order, bias, residual, 1)
    torch.library.opcheck(torch.ops.sparseops.sparse_conv_grouped.default, arguments, test_utils=tests)


def free_gigabytes() -> float:
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0] / 1e9


def test_large_tables_of_more_than_2_to_the_31_entries():
    if free_gigabytes() < 45:
        pytest.skip(f"needs 45 GB of free device memory, there are {free_gigabytes():.0f}")
    side = 432
    axis = torch.arange(side, device="cuda")
    coords = torch.cartesian_prod(torch.zeros(1, dtype=torch.int64, device="cuda"), axis, axis, axis)
    table = submanifold_map(coords, 3).forwards
    assert table.numel() > 2**31
    num_voxels, last = len(coords), side - 1
    for offset in (0, 1, 4, 12, 13, 14, 22, 26):
        dx, dy, dz = offset // 9 - 1, offset // 3 % 3 - 1, offset % 3 - 1
        expected = torch.arange(num_voxels, device="cuda", dtype=torch.int32) + (dx * side * side + dy * side + dz)
        for step, column in ((dx, 1), (dy, 2), (dz, 3)):
            if step:
                expected[coords[:, column] == (last if step > 0 else 0)] = -1
        assert torch.equal(table[offset], expected)
    del coords, expected

    features = torch.randn(num_voxels, 8, device="cuda").half()
    weight = torch.randn(8, 27, 8, device="cuda").half()
    out = torch.ops.sparseops.sparse_conv(features, weight, 8, table, None, None, 0)
    sample = torch.randint(num_voxels, (5000,), device="cuda")
    sample[:4] = torch.tensor([0, 1, num_voxels - 2, num_voxels - 1])
    columns = table[:, sample]
    gathered = features[columns.clamp(min=0).long()].double() * (columns >= 0)[..., None]
    expected = torch.einsum("kni,oki->no", gathered, weight.double())
    assert relative_error(out[sample], expected.cpu()) < TOLERANCES["float16"]
