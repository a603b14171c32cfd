"""Rings and tiles with context from memory file to memory file, beside those of ``strips``."""

import numpy as np
import pytest

from app.clouds import strips
from app.engine.packed import unpack_cloud
from tests.clouds.strip_samples import READ, ring_of
from tests.engine.joining_samples import assert_same, join, ring, tile


@pytest.mark.parametrize("width_m", [3.0, 8.0, 25.0])
def test_a_ring_that_is_cut_into_a_file_is_that_of_a_cloud(width_m):
    cloud = tile()
    cloud.xyz[:3, 1] = np.nan, np.inf, 90
    with ring(cloud, 0, width_m) as packed:
        found = unpack_cloud(packed)
    sides = found.extra.pop(strips.SIDES)
    assert_same(found, ring_of(cloud, 0, width_m))
    x, y = found.xyz[:, :2].T
    expected = (x <= width_m) + 2 * (y <= width_m) + 4 * (x >= 40 - width_m) + 8 * (y >= 40 - width_m)
    np.testing.assert_array_equal(sides, expected)


@pytest.mark.parametrize("at", [(40, 0), (-40, 0), (0, 40), (40, -40), (37.5, 3.0), (10, 10), (300, 0)])
@pytest.mark.parametrize("width_m", [5.001, 12.0, 25.0])
def test_what_lies_in_a_window_is_found_by_sides_as_by_coordinates(at, width_m):
    with ring(tile(seed=2), 0, width_m) as packed:
        found = unpack_cloud(packed)
        for size_m, buffer_m in ((40, 5.0), (8, 1.0), (100, 5.0)):
            window = strips.window((*at, 0, at[0] + size_m, at[1] + size_m, 9), buffer_m, None)
            expected = strips.rows_in(found, window)
            np.testing.assert_array_equal(strips.rows_in(found, window, packed.inner), expected)
    x, y = found.xyz[:, :2].T
    is_in = (x >= window[0]) & (y >= window[1]) & (x <= window[2]) & (y <= window[3])
    np.testing.assert_array_equal(expected, np.flatnonzero(is_in))


def test_a_tile_with_context_is_that_of_strips():
    neighbours = [tile(40, 1, intensity_scale=4095.0, format="las"), tile(-40, 2, format="laz"), tile(200, 3)]
    cloud = tile(format="laz")
    rings = [ring(each, west_m) for each, west_m in zip(neighbours, (40, -40, 200), strict=True)]
    found, expected = join(cloud, rings)
    assert found.num_context > 1000
    assert found.intensity_scale == 4095.0
    assert_same(found, expected)
    assert_same(*join(cloud, []))


def test_a_ring_without_colours_is_told_where_the_model_reads_none():
    rings = [ring(tile(40, 1), 40), ring(tile(-40, 2, rgb=None), -40)]
    found, expected = join(tile(), rings, columns=tuple(READ - {"color"}))
    ((first, end),) = found.uncolored
    assert len(found) - found.num_context < first < end == len(found)
    assert_same(found, expected)


def test_columns_that_a_ring_lacks_are_blank_and_wider_ones_widen():
    cloud = tile(format="laz")
    east, west = tile(40, 1, format="laz"), tile(-40, 2, format="laz", normals=None)
    east.extra["return_number"] = east.extra["return_number"].astype(np.uint16)
    found, expected = join(cloud, [ring(east, 40), ring(west, -40)])
    assert found.extra["return_number"].dtype == np.uint16
    assert "normals" in found.warnings[0]
    assert not found.extra["gps_time"][len(cloud) :].any()
    assert_same(found, expected)
