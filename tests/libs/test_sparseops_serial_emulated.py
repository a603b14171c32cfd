"""The CUDA sources of serialization, segments, patches and grids, run on the processor by emulated threads; only CUB's
sort and sum are stood in for."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from sparseops import reference_grid
from sparseops import reference_serial as reference

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "libs/sparseops/csrc"
UNITS = ["serialization.cu", "segments.cu", "patches.cu", "grid.cu"]
HEADERS = ["curves.h", "grid.h", "grid_cpu.h", "grid_cuda.h", "host_device.h", "radix_sort.h", "scan.h"]
HEADERS += ["scratch.h", "serial_cpu.h", "serial_cuda.h", "threads.cuh"]
STAND_INS = ["launch.cuh", "serial.cpp", "cub.cpp"]
NVCC = shutil.which("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None or shutil.which("g++") is None, reason="needs the CUDA toolkit and g++")


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("emulated")
    for path in [
        *(FOLDER / name for name in UNITS + HEADERS),
        *(HERE / "emulated" / name for name in STAND_INS),
    ]:
        shutil.copy(path, folder)
    commands = subprocess.run([NVCC, "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
    include = re.search(r"TOP=(.*)", commands)[1] + "/include"
    # its own stand-ins of the CUDA runtime, also where a torch with CUDA has loaded the real one
    flags = ["-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-Wl,-Bsymbolic", f"-I{include}", "-x", "c++"]
    subprocess.run(["g++", *flags, *UNITS, "serial.cpp", "cub.cpp", "-o", "serial.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "serial.so"))


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def kernels(request, library) -> ctypes.CDLL:
    library.set_backwards(request.param)
    return library


def arguments(*values) -> list:
    def one(value):
        if isinstance(value, torch.Tensor):
            return ctypes.c_void_p(value.data_ptr())
        return ctypes.c_void_p(None) if value is None else ctypes.c_int64(value)

    return [one(value) for value in values]


def poisoned(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.full(shape, -77 if dtype in (torch.int32, torch.int64) else float("nan"), dtype=dtype)


@pytest.mark.parametrize("depth", [1, 7, 16])
@pytest.mark.parametrize("num_points", [0, 1, 300])
@pytest.mark.parametrize("clouds", [None, "one depth", "own depths"])
def test_codes_are_the_reference(kernels, depth, num_points, clouds):
    generator = torch.Generator().manual_seed(depth)
    curves = torch.tensor([2, 0, 3, 1, 2])
    depths = torch.randint(1, depth + 1, (num_points,), generator=generator) if clouds == "own depths" else None
    coord = torch.randint(0, 1 << 16, (num_points, 3), generator=generator)
    coord = (coord & ((1 << (depth if depths is None else depths[:, None])) - 1)).int()
    batch = torch.randint(0, 9, (num_points,), generator=generator) if clouds else None
    got = poisoned(len(curves), num_points)
    assert kernels.emulated_codes(*arguments(coord, batch, depths, num_points, depth, curves, len(curves), got)) == 0
    assert torch.equal(got, reference.serialization_codes(coord, batch, depths, depth, curves.tolist()))


@pytest.mark.parametrize(("rows", "num_points", "num_bits"), [(1, 1, 3), (4, 500, 30), (4, 300, 63), (3, 0, 9)])
def test_orders_are_the_reference(kernels, rows, num_points, num_bits):
    generator = torch.Generator().manual_seed(rows)
    codes = torch.randint(0, 1 << 62, (rows, num_points), generator=generator) >> 62 - min(num_bits, 62)
    codes[:, ::3] = 5
    orders, inverses = poisoned(rows, num_points), poisoned(rows, num_points)
    assert kernels.emulated_sort(*arguments(codes, rows, num_points, num_bits, orders, inverses)) == 0
    expected = reference.sort_codes(codes, num_bits)
    assert torch.equal(orders, expected[0])
    assert torch.equal(inverses, expected[1])


@pytest.mark.parametrize("reduction", range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("lengths", [[], [0], [5, 0, 1, 9, 0], [700, 0, 3, 65], [900]])
@pytest.mark.parametrize("channels", [1, 33])
def test_reductions_are_the_reference(kernels, reduction, dtype, lengths, channels):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    values = torch.randn(int(offsets[-1]), channels, generator=torch.Generator().manual_seed(1)).to(dtype)
    values[1:2] = torch.nan
    got = poisoned(len(lengths), channels, dtype=dtype)
    halves = int(dtype == torch.float16)
    given = arguments(halves, values, offsets, len(values), len(lengths), channels, reduction, got)
    assert kernels.emulated_reduce(*given) == 0
    expected = reference.segment_reduce(values, offsets, reduction)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_offsets_out_of_range_read_nothing_outside(kernels):
    values, offsets = torch.ones(4, 2), torch.tensor([-5, 2, 1, 99, 1 << 60, -(1 << 60)])
    got = poisoned(5, 2, dtype=torch.float32)
    assert kernels.emulated_reduce(*arguments(0, values, offsets, 4, 5, 2, 0, got)) == 0
    assert got[:, 0].tolist() == [2, 0, 3, 0, 0]


@pytest.mark.parametrize("patch_size", [1, 4, 48, 300])
@pytest.mark.parametrize("counts", [[], [0, 0], [1], [48, 0, 49, 300, 0], [7] * 70 + [100], [3, 5, 1] * 32])
def test_padding_is_the_reference(kernels, counts, patch_size):
    offset = torch.tensor(counts, dtype=torch.int64).cumsum(0)
    patches = [-(-count // patch_size) for count in counts]
    num_padded = sum(
        patches_of * patch_size if patches_of > 1 else count for patches_of, count in zip(patches, counts, strict=True)
    )
    got = poisoned(num_padded), poisoned(sum(counts)), poisoned(sum(patches) + 1, dtype=torch.int32)
    given = arguments(offset, len(counts), patch_size, num_padded, sum(patches), *got)
    assert kernels.emulated_padding(*given) == 0
    expected = reference.patch_padding(offset, patch_size, sum(counts), num_padded, sum(patches))
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


@pytest.mark.parametrize("hash_number", [0, 1])
@pytest.mark.parametrize(("num_points", "scale"), [(1, 1.0), (600, 0.6), (900, 1e9)])
def test_grid_samples_are_the_reference(kernels, hash_number, num_points, scale):
    coord = torch.randn(num_points, 3, generator=torch.Generator().manual_seed(num_points), dtype=torch.float64) * scale
    sizes = torch.tensor([0.3, 0.2, 0.5], dtype=torch.float64)
    expected = reference_grid.grid_sample(coord, sizes.tolist(), hash_number)
    got = [poisoned(num_points, 3), poisoned(3), *(poisoned(num_points + more) for more in (0, 1, 0))]
    told = poisoned(2, dtype=torch.int32)
    assert kernels.emulated_grid(*arguments(coord, num_points, sizes, hash_number, *got, told)) == 0
    num_voxels, inside = told.tolist()
    assert inside
    got[3] = got[3][: num_voxels + 1]
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
    coord[num_points // 2, 1] = float("nan")
    assert (
        kernels.emulated_grid(
            *arguments(coord, num_points, sizes, hash_number, *got[:3], poisoned(num_points + 1), got[4], told)
        )
        == 0
    )
    assert not told[1]
