"""The CUDA sources of kernel maps and convolution, run on the processor by emulated threads: indices, barriers and
asynchronous copies are those of the kernels; only the instructions of the tensor cores are stood in for."""

import emulation
import pytest
import torch
from sparseops import COORD_LIMIT, reference

pytestmark = [pytest.mark.slow, pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)]
OPERATORS = torch.ops.sparseops_emulated

HALF, BFLOAT16, TF32, FLOAT = range(4)
NONE, RELU, GELU = range(3)
DTYPES = {HALF: torch.float16, BFLOAT16: torch.bfloat16, TF32: torch.float32, FLOAT: torch.float32}
# relative to the norm: results are rounded to 2**-11 and 2**-9, tf32 operands to 2**-12
TOLERANCES = {HALF: 4e-4, BFLOAT16: 3e-3, TF32: 4e-4, FLOAT: 1e-6}


@pytest.fixture(scope="module", autouse=True)
def kernels():
    with emulation.poisoned():
        yield emulation.emulated("sparseops")


@pytest.fixture(params=[(True, False), (False, True)], ids=["late-forwards", "at-once-backwards"])
def orders(request, kernels):
    """Copies that land late or at once, threads that take turns forwards or backwards."""
    kernels.set_late_copies(request.param[0])
    kernels.set_backwards(request.param[1])


@pytest.fixture(params=[100, 228], ids=["short-steps", "long-steps"])
def steps(request, kernels):
    """KiB of shared memory a multiprocessor has, on which the tiles of float32 depend."""
    kernels.set_shared_bytes(request.param << 10)


def voxels(seed: int, number: int, size: int) -> torch.Tensor:
    """Ascending, of two clouds."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randint(0, size, (number, 4), generator=generator)
    coords[:, 0] %= 2
    return coords.unique(dim=0).contiguous()


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize(("number", "size"), [(0, 4), (1, 4), (300, 7), (700, 40)])
def test_submanifold_maps_are_the_reference(orders, kernel_size, number, size):
    coords = voxels(number, number, size)
    coords = coords[torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))]
    expected = reference.submanifold_map(coords, kernel_size).forwards
    assert torch.equal(OPERATORS.submanifold_map(coords, kernel_size), expected)


def test_voxels_at_the_border_do_not_meet_across_it():
    ends = torch.tensor([0, 1, 2, COORD_LIMIT - 2, COORD_LIMIT - 1])
    coords = torch.cartesian_prod(torch.tensor([0, 1, 511]), ends, ends, ends)
    for kernel_size in (3, 5):
        expected = reference.submanifold_map(coords, kernel_size).forwards
        assert torch.equal(OPERATORS.submanifold_map(coords, kernel_size), expected)


@pytest.mark.parametrize(("number", "size"), [(0, 4), (1, 4), (700, 7), (900, COORD_LIMIT)])
def test_voxels_ascend_and_equal_ones_keep_their_order(orders, number, size):
    coords = torch.randint(0, size, (number, 4), generator=torch.Generator().manual_seed(number))
    coords[:, 0] %= 512
    order, ascending = OPERATORS.sort_voxels(coords)
    assert torch.equal(order, reference.pack_keys(coords).argsort(stable=True))
    assert torch.equal(ascending, coords[order])


@pytest.mark.parametrize(("number", "size"), [(1, 4), (300, 7), (3000, 60), (2500, COORD_LIMIT)])
def test_strided_maps_are_the_reference(orders, number, size):
    coords = voxels(number, number, size)
    coarse, children, parents = OPERATORS.strided_map(coords)
    expected_coarse, expected = reference.strided_map(coords)
    assert torch.equal(coarse, expected_coarse)
    assert torch.equal(children, expected.forwards)
    assert torch.equal(parents, expected.backwards)


def test_strided_maps_of_rows_out_of_order():
    coords = torch.cat([voxels(0, 100, 9), torch.tensor([[0, 0, 0, 0]])]).flip(0).unique(dim=0).flip(0)
    coarse, children, parents = OPERATORS.strided_map(coords)
    expected_coarse, expected = reference.strided_map(coords)
    assert torch.equal(coarse, expected_coarse)
    assert torch.equal(children, expected.forwards)
    assert torch.equal(parents, expected.backwards)


@pytest.mark.parametrize("row", [[2, 5, COORD_LIMIT, 5], [512, 0, 0, 0]])
def test_strided_maps_refuse_coordinates_outside(row):
    with pytest.raises(ValueError, match="voxel coordinates must lie in"):
        OPERATORS.strided_map(torch.cat([voxels(0, 100, 9), torch.tensor([row])]))


@pytest.mark.parametrize(("number", "size"), [(0, 4), (1, 4), (300, 7), (3000, 60), (2500, COORD_LIMIT)])
def test_all_sizes_are_known_at_once_and_lead_to_the_maps(orders, number, size):
    coords = voxels(number, number, size)
    *sizes, descents, outside = OPERATORS.halved_sizes(coords, 18).tolist()
    assert (descents, outside) == (0, 0)
    for num_coarse in sizes:
        expected_coarse, expected = reference.strided_map(coords)
        assert len(expected_coarse) == num_coarse
        coords, children, parents = OPERATORS.sized_strided_map(coords, num_coarse)
        assert torch.equal(coords, expected_coarse)
        assert torch.equal(children, expected.forwards)
        assert torch.equal(parents, expected.backwards)


def test_rows_that_do_not_ascend_and_coordinates_outside_are_counted(orders):
    coords = voxels(0, 100, 9)
    twice, outside = coords[7:8], torch.tensor([[2, 5, COORD_LIMIT, 5], [512, 0, 0, 0], [512, -1, 0, 1]])
    assert OPERATORS.halved_sizes(torch.cat([coords[:8], twice, coords[8:]]), 2)[2:].tolist() == [1, 0]
    assert OPERATORS.halved_sizes(torch.cat([coords, outside]), 2)[3] == 3
    assert OPERATORS.halved_sizes(coords.flip(0), 2)[2] == len(coords) - 1


@pytest.mark.parametrize("num_coarse", [1, 20, 100])
def test_a_size_that_is_wrong_reads_and_writes_nothing_outside(orders, num_coarse):
    coarse, children, parents = OPERATORS.sized_strided_map(voxels(0, 200, 9)[:100], num_coarse)
    assert (coarse.shape, children.shape, parents.shape) == ((num_coarse, 4), (8, num_coarse), (8, 100))
    with pytest.raises(ValueError, match="num_coarse must be 1 to 100, got 101"):
        OPERATORS.sized_strided_map(voxels(0, 200, 9)[:100], 101)


def grouped(forwards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    (order,), (columns,) = OPERATORS.group_rows([forwards])
    assert torch.equal(columns, forwards[:, order.long()])
    return order, columns


UNSORTED_OFFSETS = [13, 16, 22]


def test_grouping_brings_rows_with_the_same_neighbours_together():
    forwards = reference.submanifold_map(voxels(2, 2000, 14), 3).forwards
    order, columns = grouped(forwards)
    assert torch.equal(order.sort().values, torch.arange(len(order)).int())
    steps = lambda table: (torch.stack([(part >= 0).any(1).sum() for part in table.split(128, 1)])).sum()  # noqa: E731
    assert steps(columns) < 0.95 * steps(forwards)
    sorted_offsets = [offset for offset in range(27) if offset not in UNSORTED_OFFSETS]
    masks = (columns[sorted_offsets] >= 0).t().int().unique_consecutive(dim=0)
    assert len(masks) == len(masks.unique(dim=0))


def test_maps_grouped_together_are_as_each_alone(orders):
    coords = voxels(2, 900, 14)
    coarse, down = reference.strided_map(coords)
    few = reference.submanifold_map(coarse, 3)
    nothing = torch.empty(8, 0, dtype=torch.int32)
    submanifold = reference.submanifold_map(coords, 3)
    maps = [few.forwards, nothing, down.forwards, submanifold.forwards, down.backwards, submanifold.forwards[:9]]
    orders, columns = OPERATORS.group_rows([each.contiguous() for each in maps])
    for found, expected in zip(zip(orders, columns, strict=True), map(grouped, maps), strict=True):
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    with pytest.raises(ValueError, match="1 to 16 maps are grouped at once, got 17"):
        OPERATORS.group_rows([nothing] * 17)


def test_submanifold_maps_made_together_are_as_each_alone(orders):
    levels, sizes = [voxels(number, number, 20) for number in (700, 0, 90, 1)], [5, 3, 3, 7]
    found = OPERATORS.submanifold_maps(levels, sizes)
    for one, coords, size in zip(found, levels, sizes, strict=True):
        assert one.is_contiguous()
        assert torch.equal(one, reference.submanifold_map(coords, size).forwards)
    with pytest.raises(ValueError, match="1 to 16 levels and as many kernel sizes, got 4 and 3"):
        OPERATORS.submanifold_maps(levels, sizes[:3])


def convolve(kind, features, weight, table, order=None, bias=None, residual=None, activation=NONE):
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = kind == TF32
    try:
        return OPERATORS.sparse_conv_grouped(features, weight, len(weight), table, order, bias, residual, activation)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def operands(kind: int, coords: torch.Tensor, table: torch.Tensor, in_channels: int, out_channels: int):
    generator = torch.Generator().manual_seed(in_channels + out_channels)
    random = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    weight = random(out_channels, len(table), in_channels) / (len(table) * in_channels) ** 0.5
    features, residual = random(len(coords), in_channels), random(table.shape[1], out_channels)
    dtype = DTYPES[kind]
    return features.to(dtype), weight.to(dtype), random(out_channels), residual.to(dtype)


def exact(features, weight, table, bias=None, residual=None, activation=NONE) -> torch.Tensor:
    """In float64; without a table every row is its own."""
    table = torch.arange(len(features))[None] if table is None else table
    gathered = features.double()[table.clamp(min=0).long()] * (table >= 0)[..., None]  # (K, num_out, C_in)
    out = torch.einsum("kni,oki->no", gathered, weight.double())
    out = out if bias is None else out + bias.double()
    out = out if residual is None else out + residual.double()
    return (out, out.relu(), torch.nn.functional.gelu(out))[activation]


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


SHAPES = [
    # kind, input and output channels: every tile, and edges of channels and of steps
    (HALF, 32, 32),
    (HALF, 8, 32),
    (HALF, 24, 40),
    (HALF, 64, 64),
    (HALF, 96, 96),
    (HALF, 48, 128),
    (HALF, 32, 256),
    (BFLOAT16, 16, 64),
    (TF32, 20, 64),
    (TF32, 32, 128),
    (FLOAT, 4, 12),
    (FLOAT, 36, 64),
    (FLOAT, 20, 96),
    (FLOAT, 16, 128),
]


@pytest.mark.parametrize(("kind", "in_channels", "out_channels"), SHAPES)
def test_convolution_is_the_reference(orders, steps, kind, in_channels, out_channels):
    coords = voxels(5, 400, 9)  # two tiles of rows and a part of one
    table = reference.submanifold_map(coords, 3).forwards
    features, weight, bias, residual = operands(kind, coords, table, in_channels, out_channels)
    for activation in (RELU, GELU):
        found = convolve(kind, features, weight, table, None, bias, residual, activation)
        expected = exact(features, weight, table, bias, residual, activation)
        assert relative_error(found, expected) < TOLERANCES[kind]


@pytest.mark.parametrize("number", [0, 1, 63, 200])
@pytest.mark.parametrize(("kind", "in_channels", "out_channels"), SHAPES)
def test_linear_layers_are_convolutions_of_every_row_with_itself(orders, kind, in_channels, out_channels, number):
    own = torch.arange(number).int()[None]
    features, weight, bias, residual = operands(kind, own.t(), own, in_channels, out_channels)
    found = convolve(kind, features, weight, None, None, bias, residual, GELU)
    assert torch.equal(convolve(kind, features, weight, own, None, bias, residual, GELU), found)
    if number:
        assert relative_error(found, exact(features, weight, None, bias, residual, GELU)) < TOLERANCES[kind]


@pytest.mark.parametrize("kind", [HALF, BFLOAT16, TF32, FLOAT])
def test_a_row_of_few_and_of_many_has_the_same_bits(orders, steps, kind):
    own = torch.arange(400).int()[None]
    features, weight, bias, residual = operands(kind, own.t(), own, 72, 40)
    together = convolve(kind, features, weight, None, None, bias, residual)
    for few in (1, 32, 50):  # other tiles, as they leave multiprocessors without work
        assert torch.equal(convolve(kind, features[:few], weight, None, None, bias, residual[:few]), together[:few])


def test_gelu_of_every_half_precision_number():
    numbers = torch.arange(-(2**15), 2**15).short().view(torch.float16)
    numbers = numbers[numbers.isfinite()].reshape(-1, 8).contiguous()
    identity = torch.eye(8).half()[:, None].contiguous()
    found = convolve(HALF, numbers, identity, None, activation=GELU)
    expected = torch.nn.functional.gelu(numbers.double())
    torch.testing.assert_close(found.double(), expected, rtol=2**-10, atol=4e-7)
    infinite = torch.tensor([torch.inf, torch.nan]).half().repeat(4)[None].contiguous()
    assert convolve(HALF, infinite, identity, None, activation=GELU).isnan().all()  # 0 times infinity


@pytest.mark.parametrize("number", [1, 2, 63, 64, 65])
@pytest.mark.parametrize("kind", [HALF, FLOAT])
def test_few_voxels_and_absent_ones(orders, steps, kind, number):
    coords = voxels(6, 4 * number, 400)[:number]  # hardly any has a neighbour
    table = reference.submanifold_map(coords, 3).forwards.clone()
    table[13, ::2] = -1  # nothing is left of some
    table[0, 0] = len(coords) + 5  # no row of the features
    features, weight, _, _ = operands(kind, coords, table, 16, 32)
    found = convolve(kind, features, weight, table)
    expected = exact(features, weight, table.where(table < len(coords), torch.tensor(-1)))
    torch.testing.assert_close(found.double(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", [HALF, BFLOAT16, FLOAT])
def test_grouped_rows_give_the_same_bits(orders, steps, kind):
    coords = voxels(7, 500, 10)
    coarse, down = reference.strided_map(coords)
    for table, rows in (
        (reference.submanifold_map(coords, 3).forwards, coords),
        (down.forwards, coords),
        (down.backwards, coarse),
    ):
        features, weight, bias, residual = operands(kind, rows, table, 32, 64)
        plain = convolve(kind, features, weight, table, None, bias, residual)
        order, columns = grouped(table)
        assert torch.equal(convolve(kind, features, weight, columns, order, bias, residual), plain)
        assert relative_error(plain, exact(features, weight, table, bias, residual)) < TOLERANCES[kind]


@pytest.mark.parametrize("number", [1, 200])  # fewer and more tiles than there are multiprocessors
def test_so_many_offsets_and_channels_that_only_long_steps_have_room(kernels, number):
    kernels.set_shared_bytes(228 << 10)
    coords = voxels(9, number, 30)[:number]
    table = reference.submanifold_map(coords, 7).forwards
    features, weight, _, _ = operands(FLOAT, coords, table, 1040, 64)
    found = convolve(FLOAT, features, weight, table)
    assert relative_error(found, exact(features, weight, table)) < TOLERANCES[FLOAT]


def test_wide_kernels_and_sizes_without_room_are_told():
    coords = voxels(8, 150, 6)
    table = reference.submanifold_map(coords, 5).forwards
    features, weight, _, _ = operands(HALF, coords, table, 8, 32)
    found = convolve(HALF, features, weight, table)
    assert relative_error(found, exact(features, weight, table)) < TOLERANCES[HALF]
    with pytest.raises(ValueError, match="weight has 8192 input channels at 343 offsets; the limits are"):
        convolve(HALF, torch.zeros(4, 8192).half(), torch.zeros(8, 343, 8192).half(), torch.zeros(343, 4).int())
