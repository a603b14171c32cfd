import pytest

from app.clouds.units import METRE, Units, angle, differ, length, parse_units
from app.errors import BadRequest

US_FOOT = 1200 / 3937


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m", [1, 1, 1]),
        ("ft", [0.3048] * 3),
        ("US-ft", [US_FOOT] * 3),
        ("us_survey_foot", [US_FOOT] * 3),
        ("ft,ft,m", [0.3048, 0.3048, 1]),
        (" us-ft , us-ft , ft ", [US_FOOT, US_FOOT, 0.3048]),
        ("0.3048", [0.3048] * 3),
        ("mm", [0.001] * 3),
        ("1,1,0.3048006096", [1, 1, US_FOOT]),
    ],
)
def test_units_that_a_request_can_state(text, expected):
    units = parse_units(text)
    assert [unit.metres for unit in units] == pytest.approx(expected, rel=1e-9)
    assert {unit.source for unit in units} == {"option"}


def test_degrees_have_heights_in_metres():
    x, y, z = parse_units("deg")
    assert (x.name, y.name, z.name) == ("degree", "degree", "metre")
    assert parse_units("deg,deg,us-ft")[2].name == "US survey foot"


@pytest.mark.parametrize(
    "text", ["furlong", "ft,ft", "ft,ft,ft,ft", "0", "-1", "nan", "inf", "1e9", "m,m,deg", "deg,m,m", ",,", "ft;ft;m"]
)
def test_units_that_make_no_sense(text):
    with pytest.raises(BadRequest, match="units="):
        parse_units(text)


def test_units_in_a_sentence():
    foot, us_foot = length(0.3048), length(US_FOOT)
    assert Units(us_foot, us_foot, us_foot).described() == "US survey feet"
    assert Units(METRE, METRE, foot).described() == "metres (x, y) and feet (z)"
    assert length(0.75).plural == "units of 0.75 m"
    assert length(0.0254).plural == "inches"


def test_units_that_differ():
    foot, us_foot, degree = length(0.3048), length(US_FOOT), angle(0.017453292519943295, "degree")
    assert not differ(Units(foot, foot, foot), Units(foot, foot, length(0.3048, source="option")))
    assert differ(Units(foot, foot, foot), Units(foot, foot, us_foot))
    assert differ(Units(foot, foot, foot), Units(degree, degree, foot))
