import numpy as np
import pytest
import torch

from app.pipeline.neighbours import CHUNK_POINTS
from app.pipeline.roughness import LEAST_SPREAD_M, SCALE_M, roughness, roughness_of
from tests.pipeline.pipeline_samples import make_terrain


def values_of(coord, *neighbours):
    return roughness({"coord": torch.from_numpy(coord.astype(np.float32))}, neighbours)["roughness"].numpy()


def plainly(coord, number):
    """One point after the other, by a solver; rows of weight keep the plane level as far as they weigh."""
    coord = coord.astype(np.float32).astype(np.float64)
    rows = []
    for point in coord:
        order = np.argsort(np.square(coord - point).sum(1), kind="stable")[:number]
        around = coord[order] - point
        centred = around - around.mean(0)
        level = np.eye(2) * LEAST_SPREAD_M * np.sqrt(len(order))
        slopes = np.linalg.lstsq(np.vstack([centred[:, :2], level]), np.append(centred[:, 2], [0, 0]), rcond=None)[0]
        residual = centred[:, 2] - centred[:, :2] @ slopes
        # the damping leaves a share of the slope in the variance: sum of z * residual, as of the normal equations
        spread_m = np.sqrt((centred[:, 2] * residual).mean())
        over_plane_m = around.mean(0)[:2] @ slopes - around.mean(0)[2]
        heights = np.tanh(np.array([spread_m, over_plane_m, -around[:, 2].min()]) / SCALE_M)
        rows.append([heights[0], 1 / np.sqrt(1 + slopes @ slopes), *heights[1:]])
    return np.array(rows)


def test_each_number_of_neighbours_as_worked_out_point_by_point():
    coord = make_terrain(400, 30.0).xyz
    expected = np.hstack([plainly(coord, 8), plainly(coord, 24)])
    np.testing.assert_allclose(values_of(coord, 8, 24), expected, atol=1e-4)


def test_each_of_several_clouds_has_its_own_neighbours():
    clouds = [make_terrain(size, 30.0, seed=size).xyz.astype(np.float32) for size in (400, 20, 300)]
    found = roughness_of(torch.from_numpy(np.vstack(clouds)), (8, 24), torch.tensor([400, 420, 720]))
    np.testing.assert_array_equal(found, np.vstack([values_of(coord, 8, 24) for coord in clouds]))


def test_turning_around_z_changes_nothing():
    coord = make_terrain(3000, 60.0).xyz - [30, 30, 0]
    turned = coord[:, [1, 0, 2]] * [-1, 1, 1]
    np.testing.assert_allclose(values_of(turned, 10, 32), values_of(coord, 10, 32), atol=1e-4)


def test_a_slope_is_smooth_and_a_rough_slope_is_not():
    rng = np.random.default_rng(0)
    coord = rng.uniform(0, 40, (2000, 3))
    coord[:, 2] = 0.5 * coord[:, 0]
    spread, cosine, over_plane, _ = values_of(coord, 16).T
    assert spread.max() * SCALE_M < 0.011  # LEAST_SPREAD_M times the slope
    np.testing.assert_allclose(cosine, np.cos(np.arctan(0.5)), atol=1e-3)
    assert np.abs(over_plane).max() < 0.01
    coord[:, 2] += rng.normal(0, 0.2, len(coord))
    rough = np.arctanh(values_of(coord, 64)[:, 0]) * SCALE_M
    assert np.median(rough) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(
    "coord",
    [
        np.zeros((0, 3)),
        np.zeros((1, 3)),
        np.zeros((50, 3)),  # one spot
        np.outer(np.arange(50), [1.0, 2.0, 0.0]),  # a line
        np.outer(np.arange(50), [0.0, 0.0, 1.0]),  # a mast
    ],
)
def test_points_without_a_plane(coord):
    values = values_of(coord, 10, 32)
    assert values.shape == (len(coord), 8)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_no_point_depends_on_where_chunks_begin(monkeypatch):
    coord = make_terrain(3000, 60.0).xyz
    whole = values_of(coord, 10)
    monkeypatch.setitem(CHUNK_POINTS, "cpu", 700)
    np.testing.assert_array_equal(values_of(coord, 10), whole)
