"""What became of a file in pieces, from its pieces."""

from app.clouds.area import NONE_WITHIN
from app.survey import whole_result
from app.survey.target import Written
from tests.survey.survey_samples import result_of, tile_of

LOST = "were overwritten: the model gives no such class."


def warnings_of(*parts):
    """The warnings of a file whose pieces have those of ``parts``."""
    found = [result_of(tile_of("a.las"), warnings=list(part)) for part in parts]
    return whole_result.of(found, "a.las", Written(1, ""), {}).warnings


def test_points_that_warnings_of_pieces_count_are_added():
    noise = "Noise below the terrain: {} points are hidden from the network; they get the class noise."
    far = "Points far away from all others: {}; they get the ignore label."
    parts = [[noise.format("1,204"), far.format(3)], ["mode=vote made 2 of 4 passes (max_passes)."], [noise.format(7)]]
    assert warnings_of(*parts) == [noise.format("1,211"), far.format(3), "mode=vote made 2 of 4 passes (max_passes)."]
    assert warnings_of([far.format(2)], [far.format(40)]) == [far.format(42)]


def test_classes_that_are_overwritten_are_counted_one_by_one():
    first = f"732 points of class 26 (reserved), 6 points of class 9 (water) {LOST}"
    parts = [[first], [f"1 point of class 9 (water) {LOST}"], [f"1 point of class 65 (user-defined) {LOST}"]]
    assert warnings_of(*parts) == [
        f"732 points of class 26 (reserved) {LOST}",
        f"7 points of class 9 (water) {LOST}",
        f"1 point of class 65 (user-defined) {LOST}",
    ]
    assert warnings_of(*parts[1:], parts[0])[0] == f"7 points of class 9 (water) {LOST}"


def test_no_point_is_within_an_area_if_all_pieces_say_so():
    assert warnings_of([NONE_WITHIN], []) == []
    assert warnings_of([NONE_WITHIN], [NONE_WITHIN, "other"]) == [NONE_WITHIN, "other"]
