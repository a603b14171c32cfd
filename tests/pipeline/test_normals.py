import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from app.pipeline.least_variance import least_variance
from app.pipeline.neighbours import CHUNK_POINTS
from app.pipeline.normals import estimate_normals
from tests.pipeline.pipeline_samples import make_terrain

ENTRIES = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def normals_of(coord):
    return estimate_normals(torch.from_numpy(coord.astype(np.float32))).numpy()


def room(num_points=9000):
    rng = np.random.RandomState(0)
    walls = []
    for axis in range(3):
        for side in (0.0, 4.0):
            wall = rng.uniform(0.3, 3.7, (num_points // 6, 3))
            wall[:, axis] = side
            walls.append(wall)
    return np.vstack(walls).astype(np.float32)


def solved(coord):
    """Unsigned normals by SciPy's tree and numpy's solver, and how far apart the two least variances are."""
    around = coord[cKDTree(coord).query(coord, min(16, len(coord)))[1]].astype(np.float64)
    around -= around.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(np.einsum("mki,mkj->mij", around, around))
    return vectors[:, :, 0], (values[:, 1] - values[:, 0]) / values[:, 2]


@pytest.mark.parametrize("coord", [make_terrain(5000, 200.0).xyz.astype(np.float32), room()])
def test_normals_are_those_of_a_solver(coord, monkeypatch):
    found = normals_of(coord)
    expected, gap = solved(coord)
    sure = gap > 1e-3
    assert sure.mean() > 0.98
    assert np.abs(np.cross(found, expected))[sure].max() < 1e-6
    monkeypatch.setitem(CHUNK_POINTS, "cpu", 700)
    np.testing.assert_array_equal(normals_of(coord), found)


@pytest.mark.parametrize("scales", [(1, 1, 1), (1, 1, 1e-4), (1, 1e-2, 1e-3), (1, 1e-3, 1e-5), (1, 1e-3, 0.99e-3)])
def test_the_least_eigenvector_is_as_exact_as_its_gap_allows(scales):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 16, 3)) * scales @ np.linalg.qr(rng.normal(size=(2000, 3, 3)))[0]
    points -= points.mean(1, keepdims=True)
    matrices = np.einsum("mki,mkj->mij", points, points)
    found = least_variance(*(torch.from_numpy(matrices[:, i, j]) for i, j in ENTRIES)).numpy()
    values, vectors = np.linalg.eigh(matrices)
    off = np.linalg.norm(np.cross(found, vectors[:, :, 0]), axis=1)
    assert (off * (values[:, 1] - values[:, 0]) / values[:, 2]).max() < 2e-15
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-14)


@pytest.mark.parametrize("variances", [(1, 1, 1), (5, 1, 1), (1, 5, 1), (1, 1, 5), (5, 5, 1), (5, 1, 5), (1, 5, 5)])
def test_equal_variances_leave_a_direction_of_the_least(variances):
    diagonal = [torch.tensor([float(value)], dtype=torch.float64) for value in variances]
    none = torch.zeros(1, dtype=torch.float64)
    found = least_variance(diagonal[0], none, none, diagonal[1], none, diagonal[2])[0].numpy()
    assert np.linalg.norm(found) == pytest.approx(1)
    assert found**2 @ variances == pytest.approx(1)


def test_normals_of_a_plane_are_its_own_and_point_up_in_a_landscape():
    rng = np.random.RandomState(0)
    plane = rng.uniform(0, 200, (4000, 3))
    plane[:, 2] = 0.5 * plane[:, 0]
    expected = np.array([-0.5, 0, 1]) / np.sqrt(1.25)
    np.testing.assert_allclose(normals_of(plane), np.tile(expected, (4000, 1)), atol=1e-3)


def test_normals_in_a_room_point_inwards():
    coord = room()
    normals = normals_of(coord)
    assert ((normals * (2 - coord)).sum(1) > 0).all()
    assert (np.abs(normals).max(1) > 0.99).mean() > 0.99


@pytest.mark.parametrize(
    "coord",
    [
        np.zeros((1, 3)),
        np.zeros((2, 3)),
        np.zeros((40, 3)),
        np.array([[0, 0, 0], [1.0, 2, 3]]),
        np.outer(np.arange(40), [1.0, 2, 0]),
        np.outer(np.arange(40) * 0.01, [3.0, 1, 2]),
    ],
)
def test_points_on_a_spot_or_a_line_have_an_upright_normal(coord):
    np.testing.assert_array_equal(np.abs(normals_of(coord)), [[0, 0, 1]] * len(coord))
