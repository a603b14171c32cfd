import numpy as np
import pytest
import torch

from app.pipeline import aerial, cells, support
from tests.pipeline.pipeline_samples import make_terrain

FRAME = torch.tensor([[0.0, 0.0, -60.0], [100.0, 100.0, 100.0]]).repeat(4, 1)


def heights(coord):
    sample = {"coord": torch.from_numpy(coord.astype(np.float32))}
    sample = aerial.height_above_lowest(sample, cell_m=2.0, radii_m=(10.0, 40.0), scale_m=10.0, clip_m=50.0)
    sample = aerial.height_above_opening(sample, cell_m=2.0, radii_m=(3.0, 24.0), pit_m=3.0)
    return np.hstack([sample["height"], sample["relief"]])


def sites(*offsets_m):
    """The same terrain at each of the offsets, in steps that float32 keeps."""
    terrain = np.round(make_terrain(2000, 100.0).xyz * 64) / 64
    return np.vstack([terrain + np.array([x, y, 0]) for x, y in offsets_m])


def robust_heights(coord):
    sample = {"coord": torch.from_numpy(coord.astype(np.float32)), "frame": FRAME}
    sample = support.support(sample, cell_m=(8.0, 0.5))
    least = {"least_support": 0.56}
    sample = aerial.height_above_lowest(sample, 2.0, radii_m=(10.0, 40.0), scale_m=10.0, clip_m=50.0, **least)
    sample = aerial.height_above_opening(sample, 2.0, radii_m=(3.0, 24.0), pit_m=3.0, **least)
    return np.hstack([sample["height"], sample["relief"]]), sample["support"][:, 0].numpy()


def noise(kind, rng):
    """A fiftieth of 40,000 points, far below or above the ground of ``make_terrain``."""
    x, y = rng.uniform(0, 100, (2, 800))
    if kind == "clusters":
        x, y = np.repeat(x[:80], 10), np.repeat(y[:80], 10)
        z = np.repeat(rng.uniform(-60, -10, 80), 10)
        return np.column_stack([x, y, z]) + rng.normal(0, 0.5, (800, 3))
    if kind == "layer":
        return np.column_stack([x, y, 5 * np.sin(x / 20) - 15])
    return np.column_stack([x, y, rng.uniform(-60, -10, 800) if kind == "below" else rng.uniform(20, 100, 800)])


@pytest.mark.parametrize("kind", ["below", "above", "clusters", "layer"])
def test_noise_has_little_support_and_hardly_changes_robust_heights(kind):
    terrain = make_terrain(40_000, 100.0).xyz
    strewn = np.vstack([terrain, noise(kind, np.random.default_rng(0))])
    clean, _ = robust_heights(terrain)
    found, supported = robust_heights(strewn)
    assert np.abs(found[: len(terrain)] - clean).mean() < 0.02
    assert (supported[len(terrain) :] < 0.56).mean() > 0.95
    if kind != "above":
        assert np.abs(heights(strewn)[: len(terrain)] - heights(terrain)).mean() > 0.5


@pytest.mark.parametrize("gap_m", [30, 50, 60, 80, 200, 1000])
def test_leaving_empty_columns_out_changes_no_height(monkeypatch, gap_m):
    """Gaps that the filters look across, just so and not at all."""
    coord = sites((0, 0), (100 + gap_m, 0), (0, 100 + gap_m))
    whole = heights(coord)
    monkeypatch.setattr(cells, "MAX_RASTER_CELLS", 200 * 200)
    assert cells.Cells.of(torch.from_numpy(coord), 2.0, 24.0).edge_m == 2.0
    np.testing.assert_array_equal(heights(coord), whole)


def test_how_far_sites_are_apart_changes_no_height():
    near = heights(sites((0, 0), (1024, 512), (256, 2048)))
    far = heights(sites((0, 0), (16384, 8192), (4096, 32768)))
    np.testing.assert_array_equal(far, near)
    assert np.ptp(near, axis=0).min() > 0.1


def test_points_scattered_over_a_wide_land_get_larger_cells_instead_of_a_larger_raster():
    coord = torch.from_numpy(np.random.default_rng(0).uniform(0, (200_000, 200_000, 30), (20_000, 3)))
    found = cells.Cells.of(coord, 2.0, 40.0)
    lowest = found.lowest(coord[:, 2])
    assert lowest.numel() <= cells.MAX_RASTER_CELLS
    assert found.edge_m > 2
    assert (lowest.flatten()[found.places] <= coord[:, 2]).all()
