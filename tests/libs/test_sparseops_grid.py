"""Grid sampling against numpy's arithmetic and sort, the reference, and the golden case of transforms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import ARCHITECTURES, grid_sample, reference_grid

HASHES = reference_grid.HASHES
GOLDEN = Path(__file__).parents[1] / "golden/transforms"
SHAPES = {"volume": (1, 1, 1), "plane": (1, 1, 0), "line": (0, 1, 0), "point": (0, 0, 0), "far": (1e9, 1e6, 1)}


def points(seed: int, number: int, shape: str, dtype: torch.dtype) -> torch.Tensor:
    """Some of them twice."""
    rng = np.random.default_rng(seed)
    xyz = (rng.random((number, 3)) - 0.5) * 20 * SHAPES[shape]
    xyz[number // 2 :] = xyz[: number - number // 2][::-1]
    return torch.from_numpy(xyz).to(dtype)


def expected(coord: np.ndarray, sizes: tuple[float, ...], hash_type: str) -> list[np.ndarray]:
    """As numpy computes it, in unsigned 64-bit numbers."""
    cells = np.floor(coord.astype(np.float64) / np.array(sizes)).astype(np.int64)
    lowest = cells.min(0)
    cells -= lowest
    axes = cells.astype(np.uint64).T
    keys = np.full(len(cells), 14695981039346656037 if hash_type == "fnv" else 0, np.uint64)
    for axis in axes:
        keys = (
            (keys * np.uint64(1099511628211)) ^ axis
            if hash_type == "fnv"
            else keys * (axis.max() + np.uint64(1)) + axis
        )
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    inverse = np.empty(len(keys), np.int64)
    inverse[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(keys)))
    return [cells, lowest, order, np.r_[starts, len(keys)], inverse]


def parts(found) -> list[torch.Tensor]:
    return [found.grid_coord, found.lowest, found.order, found.offsets, found.inverse]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.integers(1, 2000) | st.sampled_from([40_000, 300_000]),
    shape=st.sampled_from(list(SHAPES)),
    sizes=st.tuples(*[st.sampled_from([0.02, 0.3, 7.0])] * 3),
    hash_type=st.sampled_from(HASHES),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    threads=st.sampled_from([1, 3]),
)
def test_compiled_and_reference_are_numpys(seed, number, shape, sizes, hash_type, dtype, threads):
    coord = points(seed, number, shape, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = parts(grid_sample(coord, sizes, hash_type))
    finally:
        torch.set_num_threads(before)
    plain = reference_grid.grid_sample(coord, list(sizes), HASHES.index(hash_type))
    for got, reference, wanted in zip(found, plain, expected(coord.numpy(), sizes, hash_type), strict=True):
        assert got.dtype == torch.int64
        assert torch.equal(got, reference)
        np.testing.assert_array_equal(got, wanted)


def test_voxels_and_fragments_are_those_of_the_golden():
    given_arrays, golden = (np.load(GOLDEN / name) for name in ("input.npz", "output.npz"))
    coord = torch.from_numpy(given_arrays["coord"])
    for tag, grid_size in (("g05", 0.05), ("g02", 0.02)):
        found = grid_sample(coord, grid_size)
        np.testing.assert_array_equal(found.inverse, golden[f"{tag}_inverse"])
        np.testing.assert_array_equal(found.grid_coord[found.pick(0)], golden[f"{tag}_grid_coord"])
        theirs = golden[f"{tag}_fragments"]
        ours = np.stack([found.pick(i) for i in range(len(theirs))])
        # the golden's sort was unstable: which points a voxel has is not open, their order is
        assert all(set(one) == set(other) for one, other in zip(ours.T, theirs.T, strict=True))
        np.testing.assert_array_equal(found.inverse[found.pick(torch.arange(len(ours[0])))], np.arange(len(ours[0])))
    raveled = grid_sample(coord, 0.05, "ravel")
    np.testing.assert_array_equal(raveled.inverse, golden["ravel_inverse"])
    np.testing.assert_array_equal(raveled.grid_coord[raveled.pick(0)], golden["ravel_grid_coord"])


def test_float32_is_divided_in_float64():
    coord = torch.tensor([[0.3, 0.7, 0.9]]) * torch.arange(2000)[:, None].float()
    wanted = np.floor(coord.numpy().astype(np.float64) / 0.1).astype(np.int64)
    np.testing.assert_array_equal(grid_sample(coord, 0.1).grid_coord, wanted)


def test_no_points():
    found = grid_sample(torch.empty(0, 3), 0.1)
    assert found.grid_coord.shape == (0, 3)
    assert found.offsets.tolist() == [0]
    assert found.pick(0).tolist() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_coordinates_without_a_voxel_are_refused(value):
    coord = torch.zeros(40_000, 3, dtype=torch.float64)
    coord[30_000, 1] = value
    for sample in (lambda: grid_sample(coord, 0.1), lambda: reference_grid.grid_sample(coord, [0.1] * 3, 0)):
        with pytest.raises(ValueError, match="finite and within"):
            sample()


@pytest.mark.parametrize(
    ("coord", "size", "hash_type", "told"),
    [
        (torch.zeros(4, 3, dtype=torch.int64), 0.1, "fnv", "float32 or float64"),
        (torch.zeros(4, 2), 0.1, "fnv", r"\(4, 2\)"),
        (torch.zeros(3, 4).t(), 0.1, "fnv", "contiguous"),
        (torch.zeros(4, 3), 0.0, "fnv", "positive"),
        (torch.zeros(4, 3), float("nan"), "fnv", "positive"),
        (torch.zeros(4, 3), (0.1, 0.1), "fnv", "one positive number or three"),
        (torch.zeros(4, 3), 0.1, "md5", "'md5'"),
    ],
)
def test_wrong_arguments_are_told(coord, size, hash_type, told):
    with pytest.raises(ValueError, match=told):
        grid_sample(coord, size, hash_type)


@pytest.mark.skipif(not ARCHITECTURES, reason="nothing is compiled")
def test_fake_tensors_have_the_shapes_of_the_real():
    tests = ("test_schema", "test_faketensor")
    arguments = (points(0, 300, "volume", torch.float32), [0.3] * 3, 0)
    torch.library.opcheck(torch.ops.sparseops.grid_sample.default, arguments, test_utils=tests)


@pytest.mark.skipif(not ARCHITECTURES, reason="nothing is compiled")
@pytest.mark.parametrize(
    ("coord", "sizes", "hash_number", "told"),
    [
        (torch.zeros(0, 3), [0.1] * 3, 0, "1 to 2"),
        (torch.zeros(4, 2), [0.1] * 3, 0, "contiguous float32 or float64"),
        (torch.zeros(1, 3).expand(9, 3), [0.1] * 3, 0, "contiguous"),
        (torch.zeros(4, 3, dtype=torch.int64), [0.1] * 3, 0, "float32 or float64"),
        (torch.zeros(4, 3), [0.1], 0, "three numbers"),
        (torch.zeros(4, 3), [0.1] * 3, 2, "0 or 1"),
    ],
)
def test_the_operator_itself_reads_nothing_out_of_bounds(coord, sizes, hash_number, told):
    with pytest.raises(ValueError, match=told):
        torch.ops.sparseops.grid_sample(coord, sizes, hash_number)


def test_many_points_of_few_voxels_are_sorted():
    coord = torch.rand(30_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 40
    for hash_type in HASHES:
        found = parts(grid_sample(coord, 1.0, hash_type))
        for got, wanted in zip(found, expected(coord.numpy(), (1.0,) * 3, hash_type), strict=True):
            np.testing.assert_array_equal(got, wanted)
