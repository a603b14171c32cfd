"""Strips of neighbours as context."""

from dataclasses import replace

import numpy as np
import pytest

from app.clouds import strips
from app.clouds.cloud import Cloud
from app.clouds.units import DEGREE, METRE, Unit, Units, length
from app.options import Options
from app.pipeline.features import read_columns
from app.pipeline.segmenter import Segmenter
from tests.clouds.strip_samples import READ, box, make_tile, ring_of
from tests.pipeline.aerial_samples import AT, aerial_procedure
from tests.pipeline.pipeline_samples import make_network, make_terrain


def test_a_ring_is_what_lies_near_the_border_with_the_columns_that_are_read():
    cloud = make_tile()
    cloud.xyz[:3, 1] = np.nan, np.inf, -np.inf
    ring = ring_of(cloud, 0)
    x, y = cloud.xyz[:, :2].T
    near = (np.minimum(np.minimum(x, 40 - x), np.minimum(y, 40 - y)) <= 8) & np.isfinite(y)
    np.testing.assert_array_equal(ring.xyz, cloud.xyz[near])
    np.testing.assert_array_equal(ring.rgb, cloud.rgb[near])
    np.testing.assert_array_equal(ring.normals, cloud.normals[near])
    np.testing.assert_array_equal(ring.intensity, cloud.intensity[near])
    assert list(ring.extra) == ["return_number"]
    np.testing.assert_array_equal(ring.extra["return_number"], cloud.extra["return_number"][near])
    assert all(values.flags.c_contiguous for values in (ring.xyz, ring.rgb, ring.normals, ring.intensity))
    bare = ring_of(cloud, 0, columns={"height"})
    assert (bare.rgb, bare.intensity, bare.normals, bare.extra) == (None, None, None, {})


def test_a_tile_narrower_than_two_strips_is_all_ring():
    assert len(ring_of(make_tile(), 0, 20.0)) == 2000
    assert len(ring_of(make_tile(), 0, 0.0)) == 0


def test_points_that_lie_elsewhere_than_their_tile_are_no_context():
    cloud = make_tile()
    cloud.xyz[:, :2] = 1.0
    cloud.xyz[:4] = [[1, 1, 2e6], [1, -9, 0], [90, 1, 0], [-7, 1, -16]]
    np.testing.assert_array_equal(ring_of(cloud, 0).xyz, cloud.xyz[3:])


def test_joined_are_the_points_of_the_rings_within_the_buffer_in_their_order():
    cloud, east, far = make_tile(), make_tile(40, seed=1), make_tile(80, seed=2)
    rings = [ring_of(far, 80), ring_of(east, 40)]
    frame = (-500.0, -400.0, -9.0, 1000.0, 900.0, 99.0)
    out = strips.joined(cloud, rings, box(0), 5.0, READ, frame)
    near = rings[1].xyz[:, 0] <= 45
    assert (out.num_context, out.num_answered, out.frame) == (near.sum(), 2000, frame)
    assert 0 < near.sum() < len(rings[1])
    np.testing.assert_array_equal(out.xyz, np.concatenate([cloud.xyz, rings[1].xyz[near]]))
    np.testing.assert_array_equal(out.rgb[2000:], rings[1].rgb[near])
    np.testing.assert_array_equal(out.normals[2000:], rings[1].normals[near])
    np.testing.assert_array_equal(out.intensity[2000:], rings[1].intensity[near])
    np.testing.assert_array_equal(out.extra["return_number"][2000:], rings[1].extra["return_number"][near])
    np.testing.assert_array_equal(out.extra["gps_time"][:2000], cloud.extra["gps_time"])
    assert not out.extra["gps_time"][2000:].any()
    assert out.warnings == cloud.warnings == []
    answered = out.answered()
    for name in ("xyz", "rgb", "normals", "intensity"):
        np.testing.assert_array_equal(getattr(answered, name), getattr(cloud, name))
        assert getattr(answered, name).dtype == getattr(cloud, name).dtype


def test_of_a_ring_no_more_is_taken_than_lies_in_the_window_of_the_tile():
    cloud, rings = make_tile(), [ring_of(make_tile(40, seed=1), 40), ring_of(make_tile(80, seed=2), 80)]
    for units in (None, Units(*[length(0.3048)] * 3)):
        cloud.units = units
        window = strips.window(box(0), 2.0, units)
        taken = [strips.within(ring, window) for ring in rings]
        assert 0 < len(taken[0]) < len(rings[0])
        assert len(taken[1]) == 0
        whole, some = (strips.joined(cloud, each, box(0), 2.0, READ) for each in (rings, taken))
        assert whole.num_context == some.num_context == len(taken[0])
        for name in ("xyz", "rgb", "normals", "intensity"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(some, name))


def test_without_neighbours_a_tile_has_no_context():
    cloud = make_tile()
    assert strips.joined(cloud, [], box(0), 5.0, READ).num_context == 0
    assert strips.joined(cloud, [ring_of(make_tile(80), 80)], box(0), 5.0, READ).num_context == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rgb": None}, "rgb"),
        ({"intensity": None}, "intensity"),
        ({"normals": None, "extra": {}}, "normals, return_number"),
        ({"intensity_scale": 65535.0}, "the scale of intensity"),
        ({"units": Units(METRE, METRE, length(0.3048))}, "units"),
    ],
)
def test_a_neighbour_that_lacks_what_the_model_reads_gives_no_context_and_a_warning(change, told):
    units = Units(*[Unit("metre", 1.0, "file")] * 3)
    cloud, east, south = (replace(make_tile(at, seed=at), units=units) for at in (0, 40, 1))
    south.xyz[:, 1] -= 40
    lacking = replace(ring_of(east, 40), **change)
    out = strips.joined(cloud, [lacking, strips.ring(south, (1, -40, 0, 41, 0, 9), 8, READ)], box(0), 5.0, READ)
    assert out.num_context > 0
    assert out.xyz[2000:, 1].max() < 0.01
    assert [f"because this tile differs from it in {told}: expect" in warning for warning in out.warnings] == [True]
    assert strips.joined(cloud, [replace(lacking, units=units)], box(0), 5.0, {"height"}).num_context > 0


def test_what_the_tile_lacks_is_left_out_of_the_context():
    cloud = replace(make_tile(), rgb=None, extra={})
    out = strips.joined(cloud, [ring_of(make_tile(40), 40)], box(0), 5.0, READ)
    assert out.num_context > 0
    assert (out.rgb, out.extra, out.warnings) == (None, {}, [])


def test_context_says_which_of_its_points_have_no_colours():
    cloud, east, west = (make_tile(at, seed=seed) for seed, at in enumerate((0, 40, -40)))
    model = READ - {"color"}
    rings = [replace(ring_of(east, 40), rgb=None), ring_of(west, -40), replace(ring_of(east, 40), rgb=None)]
    one, two = (len(strips.joined(cloud, [each], box(0), 5.0, model)) - len(cloud) for each in rings[:2])
    out = strips.joined(cloud, rings[:2], box(0), 5.0, model)
    out = strips.joined(out, rings[2:], box(0), 5.0, model)
    num_points = len(cloud)
    assert out.uncolored == [(num_points, num_points + one), (num_points + one + two, len(out))]
    assert out.num_context == 2 * one + two
    assert out.rgb[num_points + one : num_points + one + two].any(1).all()
    assert strips.joined(replace(cloud, rgb=None), rings, box(0), 5.0, model).uncolored == []
    assert out.answered().uncolored == []


def test_intensity_of_las_has_the_full_scale_of_its_brightest_neighbour():
    cloud, east = (replace(make_tile(at), format="laz") for at in (0, 40))
    ring = replace(ring_of(east, 40), intensity_scale=4095.0)
    assert strips.joined(cloud, [ring], box(0), 5.0, READ).intensity_scale == 4095.0
    assert strips.joined(replace(cloud, intensity_scale=65535.0), [ring], box(0), 5.0, READ).intensity_scale == 65535.0


def test_metres_are_turned_into_the_units_of_the_cloud():
    feet = Units(*[length(0.3048)] * 3)
    cloud, east = (replace(make_tile(at), units=feet) for at in (0, 40))
    out = strips.joined(cloud, [ring_of(east, 40, 8 * 0.3048)], box(0), 5 * 0.3048, READ)
    assert 44.5 < out.xyz[:, 0].max() <= 45
    degrees = Units(Unit("degree", 80_000, "file", DEGREE), Unit("degree", 111_000, "file", DEGREE), METRE)
    cloud = Cloud(np.random.RandomState(0).rand(5000, 3) * [0.01, 0.01, 5], "npy", units=degrees)
    ring = strips.ring(cloud, (0, 0, 0, 0.01, 0.01, 5), 80, ())
    middle = ring.xyz[np.abs(ring.xyz[:, 1] - 0.005) < 0.003]
    assert 0.00095 < middle[middle[:, 0] < 0.005, 0].max() <= 0.001


def test_a_cut_survey_is_answered_as_the_uncut_cloud():
    segmenter = Segmenter(make_network(), aerial_procedure())
    whole = make_terrain(60_000, 160)
    whole.xyz = np.rint((whole.xyz + AT) * 100) / 100
    columns, edge_m, buffer_m = read_columns(segmenter.procedure), 53.37, 40
    places = (whole.xyz[:, :2] // edge_m).astype(int)
    rows = [np.flatnonzero((places == place).all(1)) for place in np.unique(places, axis=0)]
    tiles = [whole.taken(each) for each in rows]
    boxes = [(*tile.xyz.min(0), *tile.xyz.max(0)) for tile in tiles]
    rings = [strips.ring(tile, bounds, buffer_m, columns) for tile, bounds in zip(tiles, boxes, strict=True)]
    frame = (*whole.xyz.min(0), *whole.xyz.max(0))

    def labels(with_strips, frame):
        out = np.empty(len(whole), np.int32)
        for number, (tile, bounds) in enumerate(zip(tiles, boxes, strict=True)):
            others = [ring for other, ring in enumerate(rings) if other != number] if with_strips else []
            joined = strips.joined(tile, others, bounds, buffer_m, columns, frame)
            out[rows[number]] = segmenter.segment(joined, Options()).labels
        return out

    expected = segmenter.segment(whole).labels
    assert len(tiles) >= 9
    assert np.mean(labels(True, frame) == expected) > 0.995
    assert np.mean(labels(False, frame) == expected) < 0.99
    assert np.mean(labels(True, None) == expected) < 0.9
