"""The CUDA sources of kernel maps and convolution, run on the processor by emulated threads: indices, barriers and
asynchronous copies are those of the kernels; only the instructions of the tensor cores are stood in for."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from sparseops import COORD_LIMIT, reference

ROOT = Path(__file__).parents[2]
UNITS = ("submanifold_map.cu", "strided_map.cu", "neighbour_order.cu", "conv.cu")
HEADERS = ("maps_cuda.h", "radix_sort.h", "scan.h", "threads.cuh", "voxel_table.cuh", "conv_cuda.h", "conv_math.cuh")
HEADERS += ("conv_store.cuh", "conv_tile.cuh", "scratch.h")
SOURCES = [ROOT / "libs/sparseops/csrc" / name for name in (*UNITS, *HEADERS)]
NVCC = shutil.which("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None or shutil.which("g++") is None, reason="needs the CUDA toolkit and g++")

HALF, BFLOAT16, TF32, FLOAT = range(4)
DTYPES = {HALF: torch.float16, BFLOAT16: torch.bfloat16, TF32: torch.float32, FLOAT: torch.float32}
# relative to the norm: results are rounded to 2**-11 and 2**-9, tf32 operands to 2**-12
TOLERANCES = {HALF: 4e-4, BFLOAT16: 3e-3, TF32: 4e-4, FLOAT: 1e-6}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("emulated")
    for path in [*SOURCES, *(Path(__file__).parent / "emulated").iterdir()]:
        shutil.copy(path, folder)
    commands = subprocess.run([NVCC, "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
    include = re.search(r"TOP=(.*)", commands)[1] + "/include"
    # its own stand-ins of the CUDA runtime, also where a torch with CUDA has loaded the real one
    flags = ["-std=c++17", "-O2", "-w", "-fPIC", "-shared", "-Wl,-Bsymbolic", f"-I{include}", "-x", "c++"]
    subprocess.run(["g++", *flags, *UNITS, "entry.cpp", "cub.cpp", "-o", "emulated.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "emulated.so"))


@pytest.fixture(params=[(True, False), (False, True)], ids=["late-forwards", "at-once-backwards"])
def orders(request, kernels):
    """Copies that land late or at once, threads that take turns forwards or backwards."""
    kernels.set_order(*request.param)


@pytest.fixture(params=[100, 228], ids=["short-steps", "long-steps"])
def steps(request, kernels):
    """KiB of shared memory a multiprocessor has, on which the tiles of float32 depend."""
    kernels.set_shared_bytes(request.param << 10)


def pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def voxels(seed: int, number: int, size: int) -> torch.Tensor:
    """Ascending, of two clouds."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randint(0, size, (number, 4), generator=generator)
    coords[:, 0] %= 2
    return coords.unique(dim=0).contiguous()


def poisoned(*shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.full(shape, -77 if dtype in (torch.int32, torch.int64) else float("nan"), dtype=dtype)


def submanifold(kernels, coords: torch.Tensor, kernel_size: int) -> torch.Tensor:
    forwards = poisoned(kernel_size**3, len(coords))
    assert kernels.emulated_submanifold_map(pointer(coords), len(coords), kernel_size, pointer(forwards)) == 0
    return forwards


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize(("number", "size"), [(0, 4), (1, 4), (300, 7), (700, 40)])
def test_submanifold_maps_are_the_reference(kernels, orders, kernel_size, number, size):
    coords = voxels(number, number, size)
    coords = coords[torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))]
    expected = reference.submanifold_map(coords, kernel_size).forwards
    assert torch.equal(submanifold(kernels, coords, kernel_size), expected)


def test_voxels_at_the_border_do_not_meet_across_it(kernels):
    ends = torch.tensor([0, 1, 2, COORD_LIMIT - 2, COORD_LIMIT - 1])
    coords = torch.cartesian_prod(torch.tensor([0, 1, 511]), ends, ends, ends)
    for kernel_size in (3, 5):
        expected = reference.submanifold_map(coords, kernel_size).forwards
        assert torch.equal(submanifold(kernels, coords, kernel_size), expected)


@pytest.mark.parametrize(("number", "size"), [(1, 4), (300, 7), (3000, 60), (2500, COORD_LIMIT)])
def test_strided_maps_are_the_reference(kernels, orders, number, size):
    coords = voxels(number, number, size)
    coarse, children, parents = strided(kernels, coords)
    expected_coarse, expected = reference.strided_map(coords)
    assert torch.equal(coarse, expected_coarse)
    assert torch.equal(children, expected.forwards)
    assert torch.equal(parents, expected.backwards)


def strided(kernels, coords: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    num = len(coords)
    coarse, children, parents = poisoned(num, 4, dtype=torch.int64), poisoned(8 * num), poisoned(8, num)
    result = poisoned(3)
    outputs = (coarse, children, parents, result)
    assert kernels.emulated_strided_map(pointer(coords), num, *map(pointer, outputs)) == 0
    num_coarse, ascending, inside = result.tolist()
    assert ascending
    assert inside
    return coarse[:num_coarse], children[: 8 * num_coarse].view(8, num_coarse), parents


@pytest.mark.parametrize(
    ("row", "told"),
    [([0, 0, 0, 0], (False, True)), ([2, 5, COORD_LIMIT, 5], (True, False)), ([512, 0, 0, 0], (True, False))],
)
def test_strided_maps_tell_of_rows_out_of_order_and_coordinates_outside(kernels, row, told):
    coords = torch.cat([voxels(0, 100, 9), torch.tensor([row])])
    num = len(coords)
    outputs = (poisoned(num, 4, dtype=torch.int64), poisoned(8, num), poisoned(8, num), poisoned(3))
    assert kernels.emulated_strided_map(pointer(coords), num, *map(pointer, outputs)) == 0
    assert tuple(map(bool, outputs[3].tolist()[1:])) == told


def grouped(kernels, forwards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    num_offsets, num_out = forwards.shape
    order, columns = poisoned(num_out), torch.empty_like(forwards)
    assert kernels.emulated_group_rows(pointer(forwards), num_offsets, num_out, pointer(columns), pointer(order)) == 0
    assert torch.equal(columns, forwards[:, order.long()])
    return order, columns


UNSORTED_OFFSETS = [13, 16, 22]


def test_grouping_brings_rows_with_the_same_neighbours_together(kernels):
    forwards = reference.submanifold_map(voxels(2, 2000, 14), 3).forwards
    order, columns = grouped(kernels, forwards)
    assert torch.equal(order.sort().values, torch.arange(len(order)).int())
    steps = lambda table: (torch.stack([(part >= 0).any(1).sum() for part in table.split(128, 1)])).sum()  # noqa: E731
    assert steps(columns) < 0.95 * steps(forwards)
    sorted_offsets = [offset for offset in range(27) if offset not in UNSORTED_OFFSETS]
    masks = (columns[sorted_offsets] >= 0).t().int().unique_consecutive(dim=0)
    assert len(masks) == len(masks.unique(dim=0))


def convolve(kernels, kind, features, weight, table, order=None, bias=None, residual=None, relu=False):
    out = poisoned(table.shape[1], weight.shape[0], dtype=features.dtype)
    tensors = (features, weight, table, order, bias, residual, out)
    sizes = (len(features), table.shape[1], table.shape[0], weight.shape[2], weight.shape[0])
    assert kernels.emulated_convolve(kind, *map(pointer, tensors), *sizes, relu) == 0
    return out


def operands(kind: int, coords: torch.Tensor, table: torch.Tensor, in_channels: int, out_channels: int):
    generator = torch.Generator().manual_seed(in_channels + out_channels)
    random = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    weight = random(out_channels, len(table), in_channels) / (len(table) * in_channels) ** 0.5
    features, residual = random(len(coords), in_channels), random(table.shape[1], out_channels)
    dtype = DTYPES[kind]
    return features.to(dtype), weight.to(dtype), random(out_channels), residual.to(dtype)


def exact(features, weight, table, bias=None, residual=None, relu=False) -> torch.Tensor:
    """In float64."""
    gathered = features.double()[table.clamp(min=0).long()] * (table >= 0)[..., None]  # (K, num_out, C_in)
    out = torch.einsum("kni,oki->no", gathered, weight.double())
    out = out if bias is None else out + bias.double()
    out = out if residual is None else out + residual.double()
    return out.relu() if relu else out


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
def test_convolution_is_the_reference(kernels, orders, steps, kind, in_channels, out_channels):
    coords = voxels(5, 400, 9)  # two tiles of rows and a part of one
    table = reference.submanifold_map(coords, 3).forwards
    features, weight, bias, residual = operands(kind, coords, table, in_channels, out_channels)
    found = convolve(kernels, kind, features, weight, table, None, bias, residual, True)
    expected = exact(features, weight, table, bias, residual, True)
    assert relative_error(found, expected) < TOLERANCES[kind]


@pytest.mark.parametrize("number", [1, 2, 63, 64, 65])
@pytest.mark.parametrize("kind", [HALF, FLOAT])
def test_few_voxels_and_absent_ones(kernels, orders, steps, kind, number):
    coords = voxels(6, 4 * number, 400)[:number]  # hardly any has a neighbour
    table = reference.submanifold_map(coords, 3).forwards.clone()
    table[13, ::2] = -1  # nothing is left of some
    table[0, 0] = len(coords) + 5  # no row of the features
    features, weight, _, _ = operands(kind, coords, table, 16, 32)
    found = convolve(kernels, kind, features, weight, table)
    expected = exact(features, weight, table.where(table < len(coords), torch.tensor(-1)))
    torch.testing.assert_close(found.double(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", [HALF, BFLOAT16, FLOAT])
def test_grouped_rows_give_the_same_bits(kernels, orders, steps, kind):
    coords = voxels(7, 500, 10)
    coarse, down = reference.strided_map(coords)
    for table, rows in (
        (reference.submanifold_map(coords, 3).forwards, coords),
        (down.forwards, coords),
        (down.backwards, coarse),
    ):
        features, weight, bias, residual = operands(kind, rows, table, 32, 64)
        plain = convolve(kernels, kind, features, weight, table, None, bias, residual)
        order, columns = grouped(kernels, table)
        assert torch.equal(convolve(kernels, kind, features, weight, columns, order, bias, residual), plain)
        assert relative_error(plain, exact(features, weight, table, bias, residual)) < TOLERANCES[kind]


@pytest.mark.parametrize("number", [1, 200])  # fewer and more tiles than there are multiprocessors
def test_so_many_offsets_and_channels_that_only_long_steps_have_room(kernels, number):
    kernels.set_shared_bytes(228 << 10)
    coords = voxels(9, number, 30)[:number]
    table = reference.submanifold_map(coords, 7).forwards
    features, weight, _, _ = operands(FLOAT, coords, table, 1040, 64)
    found = convolve(kernels, FLOAT, features, weight, table)
    assert relative_error(found, exact(features, weight, table)) < TOLERANCES[FLOAT]


def test_wide_kernels_and_sizes_without_room_are_told(kernels):
    coords = voxels(8, 150, 6)
    table = reference.submanifold_map(coords, 5).forwards
    features, weight, _, _ = operands(HALF, coords, table, 8, 32)
    found = convolve(kernels, HALF, features, weight, table)
    assert relative_error(found, exact(features, weight, table)) < TOLERANCES[HALF]
    invalid = 1  # cudaErrorInvalidValue
    assert kernels.emulated_convolve(HALF, *[None] * 7, 4, 4, 27, 12, 32, False) == invalid
    assert kernels.emulated_convolve(HALF, *[None] * 7, 4, 4, 343, 8192, 32, False) == invalid
