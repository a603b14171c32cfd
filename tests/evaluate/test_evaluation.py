"""Figures of made-up tiles: against plain counting, and what must not change them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadRequest
from app.evaluate.evaluation import Evaluation, evaluation
from app.evaluate.scheme import Scheme
from app.evaluate.tally import Tally
from app.evaluate.tile import Tile

CODES = [1, 2, 5, 6, 9]


def made(seed: int, num_points: int = 500, name: str = "", confident: bool = True) -> Tile:
    rng = np.random.default_rng(seed)
    truth = rng.choice(CODES, num_points)
    predicted = np.where(rng.random(num_points) < 0.7, truth, rng.choice([0, 2, 5, 6], num_points))
    xyz_m = np.round(rng.uniform(0, [30, 20, 8], (num_points, 3)), 3)
    confidence = rng.uniform(0, 1, num_points) if confident else None
    return Tile(name or f"{seed}.laz", truth, predicted, xyz_m, confidence=confidence)


def evaluated(*tiles: Tile, scheme: Scheme | None = None, **options) -> Evaluation:
    scheme = scheme or Scheme()
    return evaluation([Tally.of(tile, scheme, 1.0) for tile in tiles], scheme, 1.0, **options)


def test_every_view_holds_every_judged_point():
    tiles = [made(seed) for seed in range(3)]
    found = evaluated(*tiles)
    judged = sum(np.count_nonzero(tile.truth != 1) for tile in tiles)
    assert found.points.judged == judged
    assert found.points.ignored == sum(found.ignored.values()) == sum(map(len, tiles)) - judged
    for views in (found.tiles, found.heights, found.edges):
        np.testing.assert_array_equal(sum(each.counts for _, each in views), found.points.counts)
    assert found.calibration.points.sum() == judged
    assert found.calibration.right.sum() == found.points.hits.sum()


def test_figures_are_those_of_the_points():
    tile = made(1)
    found = evaluated(tile)
    assert found.points.names == ("ground", "high vegetation", "building", "water")
    kept = tile.truth != 1
    for place, code in enumerate((2, 5, 6, 9)):
        true, got = (tile.truth == code) & kept, (tile.predicted == code) & kept
        assert found.points.iou[place] == pytest.approx((true & got).sum() / (true | got).sum())
    right, sure = (tile.truth == tile.predicted)[kept], tile.confidence[kept]
    apart = 0.0
    for low in range(10):
        here = np.floor(10 * sure) == low
        apart += abs(right[here].sum() - sure[here].sum())
    assert found.calibration.expected_error == pytest.approx(apart / kept.sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.tuples(*[st.integers(-7_000_000, 7_000_000)] * 3))
def test_order_and_place_of_the_points_change_nothing(seed, shift):
    tile = made(seed, 80)
    order = np.random.default_rng(seed).permutation(len(tile))
    moved = Tile(
        tile.name,
        tile.truth[order],
        tile.predicted[order],
        tile.xyz_m[order] + shift,
        confidence=tile.confidence[order],
    )
    first, second = evaluated(tile), evaluated(moved)
    np.testing.assert_array_equal(first.points.counts, second.points.counts)
    np.testing.assert_allclose(first.area.counts, second.area.counts, atol=1e-9)
    for one, other in ((first.heights, second.heights), (first.edges, second.edges)):
        assert [word for word, _ in one] == [word for word, _ in other]
        for (_, a), (_, b) in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.counts, b.counts)
    np.testing.assert_array_equal(first.calibration.points, second.calibration.points)


def test_area_is_that_of_the_cells_with_judged_points_however_dense_they_are():
    xy = np.array([[0.1, 0.1], [0.2, 0.7], [0.6, 0.3], [3.4, 0.2], [3.5, 0.2], [9.9, 9.9]])
    truth, predicted = np.array([2, 2, 2, 6, 6, 1]), np.array([2, 2, 6, 6, 6, 2])
    found = evaluated(Tile("a", truth, predicted, np.column_stack([xy, np.zeros(6)])))
    np.testing.assert_allclose(found.area.counts, [[2 / 3, 1 / 3, 0], [0, 1, 0]])
    assert found.area.judged == pytest.approx(2)


def test_heights_are_above_the_true_ground_on_a_slope():
    x = np.arange(0.5, 40)
    ground = np.column_stack([x, np.zeros(40), 0.3 * x])
    roof = np.column_stack([x, np.full(40, 0.2), 0.3 * x + 6])
    truth = np.repeat([2, 6], 40)
    tile = Tile("slope", truth, truth, np.concatenate([ground, roof]))
    found = evaluated(tile)
    assert found.bases == {"above the true ground": 1}
    assert [(word, each.judged) for word, each in found.heights] == [("-0.5 to 0.5 m", 40), ("5 to 10 m", 40)]
    stated = evaluated(replace(tile, height_m=np.full(80, 3.0)))
    assert [word for word, _ in stated.heights] == ["2 to 5 m"]
    flat = evaluated(replace(tile, truth=np.repeat([5, 6], 40), predicted=np.repeat([5, 6], 40)))
    assert flat.bases == {"above the lowest point": 1}


def test_points_are_counted_by_their_distance_to_the_nearest_side():
    xyz = np.array([[0, 0, 0], [30, 30, 0], [15, 15, 0], [3, 15, 0], [15, 29, 0.0]])
    codes = np.full(5, 2)
    assert [(word, each.judged) for word, each in evaluated(Tile("a", codes, codes, xyz)).edges] == [
        ("0 to 2 m", 3),
        ("2 to 5 m", 1),
        ("10 to 20 m", 1),
    ]


def test_intervals_hold_the_figure_and_are_the_same_for_one_seed():
    tiles = [made(seed, 200) for seed in range(12)]
    first, again, other = (evaluated(*tiles, seed=seed, resamples=300) for seed in (3, 3, 4))
    for name, each in first.intervals.items():
        assert (each.low <= getattr(first.points, name)).all()
        assert (getattr(first.points, name) <= each.high).all()
        np.testing.assert_array_equal(each.low, again.intervals[name].low)
    assert any((each.low != other.intervals[name].low).any() for name, each in first.intervals.items())
    assert not evaluated(tiles[0]).intervals
    assert not evaluated(*tiles, resamples=0).intervals


def test_equal_tiles_leave_no_doubt():
    found = evaluated(*[replace(made(0), name=str(number)) for number in range(4)], resamples=50)
    np.testing.assert_allclose(found.intervals["iou"].low, found.points.iou)
    np.testing.assert_allclose(found.intervals["iou"].high, found.points.iou)


def test_calibration_needs_the_confidence_of_every_tile():
    assert evaluated(made(0), made(1, confident=False)).calibration is None


def test_what_has_no_place_or_confidence_is_in_no_span_and_no_tenth():
    tile = made(2, 50)
    tile.xyz_m[:3, 0], tile.confidence[:5] = np.nan, np.nan
    found = evaluated(replace(tile, truth=np.full(50, 2)))
    for views in (found.heights, found.edges):
        assert views[-1][0] == "not known"
        assert views[-1][1].judged == 3
    assert found.calibration.points.sum() == 45


def test_classes_that_no_label_has_are_named():
    found = evaluated(Tile("a", np.array([2, 6, 9, 1]), np.array([2, 2, 2, 2]), np.zeros((4, 3))))
    assert "1 left out: those of code 1 (unclassified). No label is building, water: all their" in found.words
    ids = evaluated(Tile("a", np.array([2, 7, -1]), np.array([2, 2, 2]), np.zeros((3, 3)), is_asprs=False))
    assert "those of code -1. No label is class 7" in ids.words


def test_what_is_to_be_said_of_tiles_is_said_once():
    tiles = [replace(made(seed), notes=("Moved.",)) for seed in range(2)]
    found = evaluated(*tiles, made(3, confident=False))
    assert found.note_lines[0] == "Moved. (0.laz, 1.laz)"
    assert found.notes["There is no calibration, because some tiles have no confidence."] == ["3.laz"]


def test_codes_of_las_and_ids_are_not_pooled():
    with pytest.raises(BadRequest, match=r"^1.laz: the classes are codes of LAS"):
        evaluated(made(1), replace(made(2), is_asprs=False))


def test_a_label_that_means_the_class_is_right_whatever_its_code():
    tile = Tile("a", np.array([3, 4, 5]), np.array([5, 5, 9]), np.zeros((3, 3)), confidence=np.full(3, 0.85))
    found = evaluated(tile, scheme=Scheme.parse(["3,4,5:vegetation"]))
    assert found.calibration.right.sum() == 2
    assert found.points.counts.tolist() == [[2, 1]]


def test_truth_without_any_class_is_told():
    with pytest.raises(BadRequest, match=r"No point is judged.* 1 \(3 points\)"):
        evaluated(Tile("a", np.ones(3, int), np.full(3, 2), np.zeros((3, 3))))
