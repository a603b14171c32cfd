"""What is left of the warnings of many tiles."""

from app.survey import warnings
from app.survey.row import Row, State
from tests.survey.survey_samples import tile_of


def summed(*texts, lacking=()):
    found = warnings.Warnings()
    for number, text in enumerate(texts):
        found.add(Row(number, tile_of(str(number)), State.DONE, warnings=[text, text], lacking=list(lacking)))
    return list(found.most_common(50))


def test_warnings_that_differ_in_numbers_are_one():
    assert summed("Points far away: 1,204; 3 of 7.5.", "Points far away: 12; 3 of -8.", "No color.") == [
        ("Points far away: 12 to 1,204; 3 of -8 to 7.5.", 2),
        ("No color.", 1),
    ]


def test_digits_of_names_are_no_numbers():
    texts = ["The field t_1 is absent.", "The field t_2 is absent.", "EPSG:25832 5-7", "EPSG:25832 5-8"]
    assert [text for text, _ in summed(*texts)] == texts


def test_neighbours_that_give_no_context_are_one_by_their_reason():
    texts = ["a_1.laz gives no context: It has 3 points.", "a_2.laz gives no context: It has 5 points."]
    assert summed(*texts, lacking=["a_1.laz", "a_2.laz"]) == [
        ("A neighbour gives no context: It has 3 to 5 points.", 2)
    ]


def test_of_too_many_kinds_the_last_are_others(monkeypatch):
    monkeypatch.setattr(warnings, "MOST_KINDS", 2)
    assert summed("a", "b", "c", "a", "d", "e") == [(warnings.OTHERS, 3), ("a", 2), ("b", 1)]
