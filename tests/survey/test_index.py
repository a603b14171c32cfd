import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.survey.index import index
from tests.survey.survey_files import tile

FEET = (0.3048, 0.3048)


def grid(width, height, size=100.0, **others):
    return [
        tile(f"{x}-{y}", (x * size, y * size, (x + 1) * size, (y + 1) * size), **others)
        for y in range(height)
        for x in range(width)
    ]


def expected(tiles, buffer_m):
    """Neighbours by comparing every pair."""
    found = []
    for a in tiles:
        reach = buffer_m / (a.metres_per_unit or (1.0,))[0]
        found.append(
            [
                number
                for number, b in enumerate(tiles)
                if a is not b
                and buffer_m
                and a.bounds
                and b.bounds
                and a.crs == b.crs
                and near(a.bounds, b.bounds, reach)
            ]
        )
    return found


def near(a, b, reach):
    return all(max(a[axis], b[axis]) - min(a[axis + 3], b[axis + 3]) <= reach for axis in (0, 1))


def neighbours(tiles, buffer_m):
    plan = index(iter(tiles), buffer_m)
    return [plan.neighbours(number).tolist() for number in range(len(plan))]


def test_tiles_that_touch_at_sides_and_corners():
    found = neighbours(grid(3, 3), 10)
    assert found[4] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert found[0] == [1, 3, 4]


@pytest.mark.parametrize(("buffer_m", "close"), [(0, False), (9.9, False), (10.1, True), (500, True)])
def test_the_buffer_decides_across_a_gap(buffer_m, close):
    tiles = [tile("a", (0, 0, 100, 100)), tile("b", (110, 105, 200, 200))]
    assert neighbours(tiles, buffer_m) == ([[1], [0]] if close else [[], []])


def test_the_buffer_is_in_metres_and_tiles_in_their_unit():
    tiles = [tile("a", (0, 0, 100, 100), metres=FEET), tile("b", (110, 0, 200, 100), metres=FEET)]
    assert neighbours(tiles, 2.9) == [[], []]
    assert neighbours(tiles, 3.1) == [[1], [0]]


def test_overlapping_equal_and_contained_tiles():
    boxes = [(0, 0, 1000, 1000), (400, 400, 410, 410), (400, 400, 410, 410), (2000, 0, 2001, 1), (-5, -5, 3000, 3000)]
    tiles = [tile(str(number), box) for number, box in enumerate(boxes)]
    assert neighbours(tiles, 1) == expected(tiles, 1)


def test_only_tiles_of_a_system_and_unit_are_neighbours():
    a, b = grid(2, 1), grid(2, 1, crs="EPSG:25833")
    unknown, feet = grid(2, 1, crs=""), grid(2, 1, crs="", metres=FEET)
    plan = index([*a, *b, *unknown, *feet], 10)
    assert [plan.neighbours(number).tolist() for number in range(8)] == [[1], [0], [3], [2], [5], [4], [7], [6]]
    assert plan.group_of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    (warning,) = plan.warnings()
    for words in ("EPSG:25832 (2)", "EPSG:25833 (2)", "none stated (2)", "none stated, unit of 0.3048 m (2)"):
        assert words in warning
    assert index(a, 10).warnings() == []


def test_heights_of_another_unit_are_another_group():
    tiles = grid(2, 1) + grid(2, 1, metres=(1.0, 0.3048))
    assert neighbours(tiles, 10) == [[1], [0], [3], [2]]


def test_tiles_without_bounds_have_no_neighbours_and_go_last():
    tiles = [tile("x"), *grid(2, 2), tile("y")]
    plan = index(tiles, 10)
    assert plan.order[-2:].tolist() == [0, 5]
    assert plan.neighbours(0).tolist() == plan.neighbours(5).tolist() == []
    assert plan.neighbours(1).tolist() == [2, 3, 4]


def test_nothing_and_one():
    assert len(index([], 10)) == 0
    plan = index([tile("a", (0, 0, 0, 0))], 10)
    assert plan.order.tolist() == [0]
    assert plan.neighbours(0).tolist() == []


def test_the_order_goes_from_neighbour_to_neighbour():
    tiles = grid(16, 16)
    np.random.default_rng(0).shuffle(tiles)
    order = index(tiles, 10).order
    assert sorted(order) == list(range(256))
    middles = np.array([tiles[number].bounds for number in order])[:, :2]
    steps = np.abs(np.diff(middles, axis=0)).sum(1)
    np.testing.assert_allclose(steps, 100)


def test_the_order_keeps_groups_together():
    a, b = grid(4, 4), grid(4, 4, crs="EPSG:25833")
    mixed = [each for pair in zip(a, b, strict=True) for each in pair]
    plan = index(mixed, 10)
    assert plan.group_of[plan.order].tolist() == [0] * 16 + [1] * 16


number = st.floats(0, 1000).map(lambda value: round(value, 1))
size = st.sampled_from([0.0, 1.0, 10.0, 33.3, 100.0, 900.0, 1e6])
boxes = st.lists(st.tuples(number, number, size, size), max_size=40)


@settings(max_examples=150, deadline=None)
@given(boxes, st.sampled_from([0.0, 0.05, 32.0, 1000.0]), st.sampled_from([0.0, 6e6, -1e9]))
def test_any_boxes_have_the_neighbours_of_every_pair(boxes, buffer_m, shift):
    tiles = [tile(str(n), (x + shift, y, x + w + shift, y + h)) for n, (x, y, w, h) in enumerate(boxes)]
    found, wanted = neighbours(tiles, buffer_m), expected(tiles, buffer_m)
    near_enough = expected(tiles, buffer_m + 1e-6) if buffer_m else wanted
    for ours, least, most in zip(found, expected(tiles, buffer_m and buffer_m - 1e-6), near_enough, strict=True):
        assert set(least) <= set(ours) <= set(most)
        assert ours == sorted(set(ours))


def test_neighbours_are_mutual_where_degrees_differ():
    tiles = [
        tile("a", (10.0, 50.0, 10.1, 50.1), "EPSG:4326", (71_000.0, 1.0)),
        tile("b", (10.1004, 50.0, 10.2, 50.1), "EPSG:4326", (70_900.0, 1.0)),
    ]
    assert neighbours(tiles, 32) == [[1], [0]]
