"""Points within areas, against exact arithmetic."""

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.clouds.area import Area, parse
from app.refine.within import within

whole = st.integers(-6, 6)
rings = st.lists(st.tuples(whole, whole), min_size=3, max_size=9)
areas = st.lists(st.lists(rings, min_size=1, max_size=3), min_size=1, max_size=3)
GRID = [(x / 2, y / 2) for x, y in itertools.product(range(-13, 14), repeat=2)]


def is_within(point, area):
    """The rule of ``within`` in fractions, point by point."""
    x, y = map(Fraction, point)

    def crosses(here, there):
        (x1, y1), (x2, y2) = sorted((here, there), key=lambda end: end[1])
        return y1 <= y < y2 and x < x1 + (y - y1) * Fraction(x2 - x1) / (y2 - y1)

    def is_odd(ring):
        return sum(crosses(*edge) for edge in zip(ring, [*ring[1:], ring[0]], strict=True)) % 2

    return any(sum(map(is_odd, polygon)) % 2 for polygon in area.polygons)


@settings(max_examples=60, deadline=None)
@given(areas)
def test_points_within_are_those_of_exact_arithmetic(polygons):
    area = Area(polygons)
    found = within(torch.tensor(GRID, dtype=torch.float64), area).tolist()
    assert sum(one != is_within(point, area) for one, point in zip(found, GRID, strict=True)) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)), min_size=1, max_size=9, unique_by=lambda p: p[1]))
def test_each_point_lies_in_one_of_two_areas_that_share_a_border(inner):
    border = [(0.3, 0.0), *sorted(inner, key=lambda point: point[1]), (0.6, 1.0)]
    left, right = [*border, (0.0, 1.0), (0.0, 0.0)], [*border, (1.0, 1.0), (1.0, 0.0)]
    points = [*np.random.default_rng(0).uniform(0, 1, (200, 2)).tolist(), (0.3, 0.0), *inner]
    xy = torch.tensor(points, dtype=torch.float64)
    counts = within(xy, Area([[left]])).int() + within(xy, Area([[right]])).int()
    assert counts.tolist() == [1] * len(points)


def test_a_hole_is_outside_and_what_is_not_finite_too():
    square = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
    hole = [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]
    text = json.dumps({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square, hole]}})
    inf, nan = float("inf"), float("nan")
    points = [(1, 1), (5, 5), (5, 7), (11, 1), (nan, 1), (1, nan), (inf, 1), (-inf, 1), (1, inf), (1, -inf)]
    xy = torch.tensor(points, dtype=torch.float64)
    assert within(xy, parse(text)).tolist() == [True, False, True, *[False] * 7]
    assert within(xy[:0], parse(text)).tolist() == []


def test_boxes_and_collections():
    xy = torch.tensor([(1.0, 1.0), (3.0, 1.0), (5.0, 1.0)], dtype=torch.float64)
    assert within(xy, parse(" 0, 0, 2, 2 ")).tolist() == [True, False, False]
    squares = [[[[x, 0], [x + 2, 0], [x + 2, 2], [x, 2]]] for x in (0, 4)]
    many = {"type": "MultiPolygon", "coordinates": squares}
    features = [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": each}} for each in squares]
    for found in (many, {"type": "FeatureCollection", "features": features}):
        assert within(xy, parse(json.dumps(found))).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "xmin,ymin,xmax,ymax"),
        ("3,0,1,2", "xmin is less than xmax"),
        ("0,0,inf,2", "xmin is less than xmax"),
        ('{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}', "it is a LineString"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "three finite points"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1e999, 2]]]}', "not as GeoJSON"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1', "cut short"),
        ('{"type": "Feature", "geometry": null}', "not as GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "no polygon"),
        ('{"type": ["Polygon"]}', "it is a"),
        ("{" * 60000, "cut short"),
    ],
)
def test_what_is_no_area_is_told(text, words):
    with pytest.raises(ValueError, match=words):
        parse(text)


@pytest.mark.parametrize("corners", [3, 40, 20_000])
def test_many_points_lie_within_a_ring_of_many_corners_as_within_a_function(corners):
    rng = np.random.default_rng(corners)
    angle = (np.arange(corners) + 0.5) * 2 * np.pi / corners
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    points = rng.uniform(-1.2, 1.2, (20_000, 2))
    turned = np.arctan2(points[:, 1], points[:, 0]) % (2 * np.pi)
    middle = np.round(turned / (2 * np.pi / corners)) * 2 * np.pi / corners  # of the side that the point looks at
    outwards = (points * np.stack([np.cos(middle), np.sin(middle)], 1)).sum(1)
    holes = [(0.3 * ring).tolist()] if corners > 3 else []
    found = within(torch.from_numpy(points), Area([[ring.tolist(), *holes]])).numpy()
    apothem = np.cos(np.pi / corners)
    expected = (outwards < apothem) & (outwards >= 0.3 * apothem if holes else True)
    np.testing.assert_array_equal(found, expected)
    assert expected.mean() > 0.2


def test_a_cancelled_search_ends_early():
    def cancelled():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        within(torch.tensor(GRID, dtype=torch.float64), parse("0,0,1,1"), cancelled)
