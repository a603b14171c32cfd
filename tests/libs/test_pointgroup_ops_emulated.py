"""The CUDA source of the ball query, run on the processor by emulated threads."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from point_scenes import assert_same
from pointgroup_ops import reference
from test_pointgroup_ops import RADIUS, clouds_of, golden, points_of

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "libs/pointgroup_ops/csrc"
NVCC = shutil.which("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None, reason="needs the CUDA toolkit")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("emulated")
    names = ("emulated/launch.cuh", "emulated/pointgroup_ops.cpp")
    for path in [*(CSRC / name for name in ("ball_query.cu", "kernels.h", "grid.h")), *(HERE / name for name in names)]:
        shutil.copy(path, folder)
    flags = ["-std=c++17", "-O2", "-x", "c++", "-shared", "-Xcompiler", "-fPIC,-w,-ffp-contract=off"]
    subprocess.run([NVCC, *flags, "pointgroup_ops.cpp", "-o", "emulated.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "emulated.so"))


def call(function, *arguments):
    kinds = {float: ctypes.c_float, int: ctypes.c_int64}
    converted = [
        ctypes.c_void_p(argument.data_ptr()) if isinstance(argument, torch.Tensor) else kinds[type(argument)](argument)
        for argument in arguments
    ]
    assert function(*converted) == 0


def keys_of(kernels, coords, batch_idxs, batch_offsets, radius):
    """Keys of the cells, and whether the clouds are wrong."""
    finite = coords.isfinite()
    low, high = torch.where(finite, coords, torch.inf).amin(0), torch.where(finite, coords, -torch.inf).amax(0)
    keys, wrong = torch.zeros(len(coords)).long(), torch.zeros(1).int()
    sizes = len(coords), len(batch_offsets) - 1
    call(kernels.emulated_keys, coords, batch_idxs, batch_offsets, *sizes, low, high, radius, keys, wrong)
    return keys, bool(wrong)


def ball_query(kernels, coords, batch_idxs, batch_offsets, radius):
    """The steps of bindings_cuda.cpp."""
    keys, wrong = keys_of(kernels, coords, batch_idxs, batch_offsets, radius)
    assert not wrong
    keys, indices = keys.sort(stable=True)
    order, sorted_coords = indices.int(), coords[indices]
    sizes = len(coords), len(batch_offsets) - 1
    lengths = torch.full((len(coords),), -7, dtype=torch.int32)
    call(kernels.emulated_count, keys, order, sorted_coords, *sizes, radius, lengths)
    starts = lengths.cumsum(0) - lengths
    idxs = torch.full((int(lengths.sum()),), -7, dtype=torch.int32)
    points = coords, batch_idxs, batch_offsets
    call(kernels.emulated_fill, *points, *sizes, keys, order, sorted_coords, radius, starts, lengths, idxs)
    return idxs, torch.stack([starts.int(), lengths], 1)


@pytest.mark.parametrize("side", [0.0, 0.4, 5.0, 60.0, 1e7, 1e30])
@pytest.mark.parametrize("lattice", [False, True])
def test_ball_query_is_the_reference(kernels, side, lattice):
    sizes = [70, 0, 1, 95]
    for radius in (1.0, 2.0):
        coords = points_of(3, sizes, side, -2.0, 0, lattice, broken=lattice)
        arguments = (coords, *clouds_of(sizes), radius)
        assert_same(ball_query(kernels, *arguments), reference.ball_query(*arguments))


def test_ball_query_meets_the_golden(kernels):
    given, expected = golden("input"), golden("output")
    found = ball_query(kernels, given["xyz"], given["batch_idxs"], given["batch_offsets"], RADIUS)
    assert_same(found, (expected["idx"], expected["start_len"]))


@pytest.mark.parametrize("number", [999, 1001])
def test_a_point_keeps_its_first_thousand_neighbours(kernels, number):
    coords = torch.rand(number + 40, 3, generator=torch.Generator().manual_seed(number)) * 0.57
    coords[:40] += 100
    arguments = (coords, *clouds_of([0, number + 40]), 1.0)
    expected = reference.ball_query(*arguments)
    assert expected[1][:, 1].max() == min(number, 1000)
    assert_same(ball_query(kernels, *arguments), expected)


@pytest.mark.parametrize(
    ("batch_idxs", "batch_offsets", "wrong"),
    [
        ([0, 0, 1, 1, 1], [0, 2, 5], False),
        ([0, 0, 1, 1, 2], [0, 2, 5], True),
        ([0, -1, 1, 1, 1], [0, 2, 5], True),
        ([0, 0, 1, 1, 1], [0, 2, 4], True),
        ([0, 0, 1, 1, 1], [1, 2, 5], True),
        ([0, 0, 2, 2, 2], [0, 9, 2, 5], True),
        ([0, 0, 1, 1, 1], [0, 3, 5], True),
        ([0, 0, 0, 0, 0], [0, 5, *[5] * 300], False),
        ([0, 0, 0, 0, 0], [0, 5, *[5] * 300, 6], True),
    ],
)
def test_clouds_that_do_not_fit_are_noticed(kernels, batch_idxs, batch_offsets, wrong):
    clouds = torch.tensor(batch_idxs).int(), torch.tensor(batch_offsets).int()
    assert keys_of(kernels, torch.rand(5, 3), *clouds, 1.0)[1] == wrong
