import numpy as np
import pytest
import torch

from app.errors import BadCloud
from app.pipeline.usable_points import usable_points
from tests.pipeline.pipeline_samples import make_terrain


def usable(xyz, grid_size, warnings):
    """int64 (M,), the rows of the usable points."""
    points = usable_points(torch.from_numpy(xyz), grid_size, warnings)
    np.testing.assert_array_equal(points.xyz, xyz[points.rows])
    np.testing.assert_array_equal([points.low, points.high], [xyz[points.rows].min(0), xyz[points.rows].max(0)])
    return points.rows.numpy()


@pytest.mark.parametrize(
    ("scale", "grid_size", "expected"),
    [
        ((1e-6, 1e-6, 1), 0.5, "look like degrees"),
        ((1e5, 1e5, 1), 0.5, "are its coordinates in metres?"),
        ((1e3, 1e3, 1e3), 0.5, "measures 40,000 at its widest; are its coordinates in metres?"),
        ((0.1, 0.1, 0.1), 0.5, "measures 4 at its widest; are its coordinates in metres?"),
        ((1e3, 1e3, 1e3), 4.0, None),
        ((100, 100, 1), 0.5, None),
        ((0.1, 0.1, 0.1), 0.05, None),
        ((1, 1, 1), 0.5, None),
    ],
)
def test_implausible_units_are_warned_about(scale, grid_size, expected):
    warnings = []
    usable(np.vstack([make_terrain().xyz, [[0, 0, 0], [40, 40, 0]]]) * scale, grid_size, warnings)
    assert [expected in said for said in warnings] == ([True] if expected else [])


BULK = np.random.default_rng(1).random((2000, 3)) * [50, 50, 10]


@pytest.mark.parametrize(
    ("xyz", "how"),
    [
        ([[0, 0, 0], [1e19, 0, 0], [1, 1, 1]], "wide"),
        ([[0, 0, 0], [6e30, 6e30, 0]], "wide"),
        ([[2.0**64, 0, 0], [0, 0, 0]], "wide"),
        ([[1e308, -1e308, 0], [-1e308, 1e308, 0]], "wide"),
        ([[0, 0, 0], [0, 0, 1e300]], "high"),
        (np.vstack([BULK, np.add(BULK, (1e12, 0, 0))]), "wide"),
        (BULK * 1e300, "wide"),
    ],
)
def test_a_cloud_that_no_grid_holds_is_refused_with_its_size(xyz, how):
    with pytest.raises(BadCloud, match=f"units {how}, more than .* voxels"):
        usable(np.array(xyz, np.float64), 0.5, [])


@pytest.mark.parametrize("far", [[[1e300, 0, 0]], [[1e308, -1e308, 0], [-1e308, 1e308, 0]]])
def test_points_beyond_all_measure_are_left_out(far):
    warnings: list[str] = []
    rows = usable(np.vstack([BULK, far]), 0.5, warnings)
    np.testing.assert_array_equal(rows, np.arange(len(BULK)))
    assert f"Points far away from all others: {len(far)}; they get the ignore label." in warnings


@pytest.mark.parametrize("distance_m", [1e3, 1e6, 8e6])
def test_a_few_points_far_apart_are_all_kept(distance_m):
    xyz = np.array([[0, 0, 0], [distance_m, 0, 0], [1, 1, 1]])
    assert len(usable(xyz, 0.5, [])) == 3
