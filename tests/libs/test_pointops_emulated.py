"""The CUDA sources of pointops, run on the processor by emulated threads."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from point_scenes import assert_same
from pointops import reference
from pointops_samples import assert_close, golden, points_of

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "libs/pointops/csrc"
UNITS = ["box_tree.cu", "nearest.cu", "balls.cu", "sampling.cu", "features.cu"]
HEADERS = ["candidates.h", "curve.h", "device.cuh", "kernels.h", "numbers.h", "radix_sort.h", "walk.cuh"]
STAND_INS = {"launch.cuh": "emulator.cuh", "pointops.cuh": "launch.cuh", "pointops.cpp": "pointops.cpp"}
NVCC = shutil.which("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None or shutil.which("g++") is None, reason="needs the CUDA toolkit and g++")
SIZES = [[70], [0, 1, 0], [33, 0, 90, 31], [300]]


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("emulated")
    for name in UNITS + HEADERS:
        shutil.copy(CSRC / name, folder)
    for name, place in STAND_INS.items():
        shutil.copy(HERE / "emulated" / name, folder / place)
    commands = subprocess.run([NVCC, "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
    include = re.search(r"TOP=(.*)", commands)[1] + "/include"
    # its own stand-ins of the CUDA runtime, also where a torch with CUDA has loaded the real one
    flags = ["-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-ffp-contract=off"]
    flags += [f"-I{include}", "-x", "c++"]
    subprocess.run(["g++", *flags, *UNITS, "pointops.cpp", "-o", "emulated.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "emulated.so"))


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def kernels(request, library) -> ctypes.CDLL:
    library.set_backwards(request.param)
    return library


def converted(argument):
    if isinstance(argument, torch.Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    return {float: ctypes.c_float, int: ctypes.c_int64, type(None): ctypes.c_void_p}[type(argument)](argument)


def call(function, *arguments):
    function(*map(converted, arguments))


def poisoned(rows, k):
    return torch.full((rows, k), -77, dtype=torch.int32), torch.full((rows, k), torch.nan)


def clouds(xyz, offset, queries, query_offset):
    return xyz, len(xyz), offset, len(offset), queries, len(queries), query_offset


def knn_query(kernels, xyz, offset, queries, query_offset, k):
    found = poisoned(len(queries), k)
    call(kernels.emulated_knn_query, *clouds(xyz, offset, queries, query_offset), k, *found)
    return found


def ball_query(kernels, xyz, offset, queries, query_offset, samples, min_radius, max_radius, rank, leaves=1000):
    found = poisoned(len(queries), samples)
    arguments = samples, float(min_radius), float(max_radius), rank, leaves
    call(kernels.emulated_ball_query, *clouds(xyz, offset, queries, query_offset), *arguments, *found)
    return found


def farthest_point_sampling(kernels, xyz, offset, sample_offset, samples):
    found = torch.full((samples,), -77, dtype=torch.int32)
    call(kernels.emulated_farthest_point_sampling, xyz, len(xyz), offset, len(offset), sample_offset, samples, found)
    return found


def test_the_goldens_are_met(kernels):
    data, expected = golden("op_knn_query")
    xyz, offset, queries, query_offset = data["xyz"], data["offset"].long(), data["new_xyz"], data["new_offset"].long()
    assert torch.equal(knn_query(kernels, xyz, offset, xyz, offset, 16)[0], expected["self_idx"])
    assert torch.equal(knn_query(kernels, xyz, offset, queries, query_offset, 8)[0], expected["new_idx"])
    data, expected = golden("op_ball_query")
    assert torch.equal(ball_query(kernels, xyz, offset, xyz, offset, 12, 0, 0.5, None)[0], expected["self_idx"])
    found = ball_query(kernels, xyz, offset, queries, query_offset, 6, 0.3, 0.9, None)
    assert torch.equal(found[0], expected["new_idx"])
    data, expected = golden("op_farthest_point_sampling")
    samples = data["new_offset"].long()
    found = farthest_point_sampling(kernels, data["xyz"], data["offset"].long(), samples, int(samples[-1]))
    assert torch.equal(found, expected["idx"])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (1e6, False, True)])
@pytest.mark.parametrize("k", [1, 4, 8, 11, 16, 29, 77])
def test_knn_query_is_the_reference(kernels, sizes, side, lattice, broken, k):
    xyz, offset = points_of(k, sizes, side, -3.0, 0, lattice, broken)
    queries, query_offset = points_of(k + 1, sizes[::-1], side, -3.0, 1, lattice, broken)
    arguments = xyz, offset, queries, query_offset, k
    assert_same(knn_query(kernels, *arguments), reference.knn_query(*arguments))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (9.0, False, True)])
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("radii", [(0.0, 1.1), (1.0, 4.0), (0.0, 1e30)])
def test_ball_query_is_the_reference(kernels, sizes, side, lattice, broken, ranked, radii):
    xyz, offset = points_of(1, sizes, side, -3.0, 0, lattice, broken)
    rank = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0)).int() if ranked else None
    arguments = xyz, offset, xyz, offset, 10, *radii, rank
    expected = reference.ball_query(*arguments)
    assert_same(ball_query(kernels, *arguments), expected)
    assert_same(ball_query(kernels, *arguments, leaves=2), expected)


@pytest.mark.parametrize("sizes", [*SIZES, [1500, 2]])
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (1e6, False, True)])
def test_farthest_point_sampling_is_the_reference(kernels, sizes, side, lattice, broken):
    xyz, offset = points_of(1, sizes, side, -3.0, 0, lattice, broken)
    counts = torch.tensor([min(size, 50) + (size > 0) for size in sizes])
    arguments = xyz, offset, counts.cumsum(0), int(counts.sum())
    assert torch.equal(farthest_point_sampling(kernels, *arguments), reference.farthest_point_sampling(*arguments))


@pytest.mark.parametrize("offset", [[-5, 9, 3], [200, 100, 1 << 60], [0, 0, 1], [64, -(1 << 60), 100]])
def test_offsets_that_do_not_fit_read_nothing_outside(kernels, offset):
    xyz, offset, right = torch.rand(100, 3), torch.tensor(offset), torch.tensor([40, 60, 100])
    for arguments in ((xyz, offset, xyz, right), (xyz, right, xyz, offset), (xyz, offset, xyz, offset)):
        idx, _ = knn_query(kernels, *arguments, 8)
        assert ((idx >= -1) & (idx < 100)).all()
        idx, _ = ball_query(kernels, *arguments, 8, 0, 0.4, None)
        assert ((idx >= -1) & (idx < 100)).all()
    idx = farthest_point_sampling(kernels, xyz, offset, torch.tensor([-1, 9, 5]), 5)
    assert (idx < 100).all()


def test_features_are_the_reference(kernels):
    generator = torch.Generator().manual_seed(0)
    table, index = torch.randn(30, 10, generator=generator), torch.randint(-1, 30, (20, 5), generator=generator).int()
    wrong = index.clone()
    wrong[0, 0], wrong[1, 1] = 30, -9
    missing = index.clone()
    missing[0, 0] = missing[1, 1] = -1

    out = torch.full((20, 5, 10), torch.nan)
    call(kernels.emulated_gather, table, 30, wrong, 100, 10, out)
    assert torch.equal(out, reference.gather(table, missing))
    own = torch.randn(20, 10, generator=generator)
    call(kernels.emulated_subtract, own, table, 30, wrong, 20, 5, 10, out)
    assert torch.equal(out, reference.subtract(own, table, missing))

    out, weight = torch.full((20, 10), torch.nan), torch.randn(20, 5, generator=generator)
    call(kernels.emulated_edge_sum, table, 30, None, None, wrong, 5, weight, 1, 1, 20, 10, out)
    assert_close(out, reference.row_sum(table, missing, weight))
    position = torch.randn(20, 5, 10, generator=generator, requires_grad=True)
    weight = torch.randn(20, 5, 4, generator=generator, requires_grad=True)
    call(kernels.emulated_aggregate, table, 30, wrong, position, weight, 20, 5, 10, 4, out)
    expected = reference.aggregate(table, position, weight, missing)
    assert_close(out, expected.detach())
    incoming = torch.randn(20, 10, generator=generator)
    gradients = torch.full_like(position, torch.nan), torch.full_like(weight, torch.nan)
    call(kernels.emulated_aggregate_backward, table, 30, wrong, position, weight, incoming, 20, 5, 10, 4, *gradients)
    for one, other in zip(gradients, torch.autograd.grad(expected, (position, weight), incoming), strict=True):
        assert_close(one, other)


def test_attention_is_the_reference(kernels):
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 20, 3, 4, generator=generator)
    target, refer = torch.randint(-1, 20, (2, 50), generator=generator).int()
    channel, weight = torch.randn(4, generator=generator), torch.randn(50, 3, generator=generator)
    out = torch.full((50, 3), torch.nan)
    call(kernels.emulated_edge_dot, query, key, 20, target, refer, channel, 50, 3, 4, out)
    assert_close(out, reference.edge_dot(query, key, target, refer, channel))

    ascending, order = target.sort(stable=True)
    starts, places = torch.searchsorted(ascending, torch.arange(21).int()), order.int()
    out = torch.full((20, 3, 4), torch.nan)
    call(kernels.emulated_edge_sum, key, 20, starts, places, refer, 1, weight, 4, 3, 20, 12, out)
    assert_close(out, reference.group_sum(weight, key, target, refer))
