"""The options of a prediction: what is accepted, and what is said of anything else."""

import dataclasses
import json

import pytest
from pydantic import TypeAdapter, ValidationError

from app.clouds import area
from app.clouds.catalog import READERS, WRITERS
from app.clouds.fields import FIELDS
from app.errors import BadRequest
from app.option_text import accepted, parse, properties
from app.options import MAX_CHARS, NAMES, READING, Mode, Options
from tests.area_samples import CORNERS, round_area

GIVEN = {
    "model": "m",
    "mode": "exact",
    "max_passes": "3",
    "format": "LAS",
    "columns": "x, y ,z",
    "crs": "EPSG:2263",
    "units": "ft",
    "output": "LAZ",
    "fields": "confidence,entropy",
    "seed": "7",
    "timeout_s": "2.5",
    "condition": "ScanNet",
    "smooth": "8",
    "smooth_radius_m": "1.5",
    "sieve": "20",
    "sieve_m2": "4",
    "min_confidence": "0.6",
    "max_entropy": "0.5",
    "noise": "true",
    "vegetation_heights": "0.5, 2",
    "ground": "file",
    "classes": "building: 6,12:14",
    "preserve": "2, 9,17",
    "only": "0,1",
    "preserve_flags": "withheld,overlap",
    "within": "0,0,10.5,20",
    "classification_to": "predicted",
    "filename": "a.las",
}


def test_every_option_is_read_from_text():
    assert set(GIVEN) == set(NAMES)
    assert parse(GIVEN) == Options(
        model="m",
        mode=Mode.EXACT,
        max_passes=3,
        format="las",
        columns=("x", "y", "z"),
        crs="EPSG:2263",
        units="ft",
        output="laz",
        fields=("confidence", "entropy"),
        seed=7,
        timeout_s=2.5,
        condition="ScanNet",
        smooth=8,
        smooth_radius_m=1.5,
        sieve=20,
        sieve_m2=4.0,
        min_confidence=0.6,
        max_entropy=0.5,
        noise=True,
        vegetation_heights=(0.5, 2.0),
        ground="file",
        classes=("building:6", "12:14"),
        preserve=(2, 9, 17),
        only=(0, 1),
        preserve_flags=("withheld", "overlap"),
        within="0,0,10.5,20",
        classification_to="predicted",
        filename="a.las",
    )


def test_heights_of_vegetation_may_be_those_of_the_model_and_go_through_json():
    options = parse({"vegetation_heights": "model"})
    assert options.vegetation_heights == "model"
    adapter = TypeAdapter(Options)
    for each in (options, parse({"vegetation_heights": "0.5,2"})):
        assert adapter.validate_json(adapter.dump_json(each)) == each
    assert accepted(properties()["vegetation_heights"]) == "numbers, or model"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ground": "file"}, "ground=file changes nothing"),
        ({"max_passes": "3"}, "max_passes=3 changes nothing: mode=fast is one pass."),
        ({"ground": "file", "vegetation_heights": "model"}, ""),
        ({"ground": "file", "fields": "height_above_ground"}, ""),
        ({"max_passes": "3", "mode": "vote"}, ""),
        ({}, ""),
    ],
)
def test_options_without_effect_are_told(given, told):
    found = parse(given).without_effect
    assert len(found) == bool(told)
    assert all(sentence.startswith(told) for sentence in found)


def test_an_empty_text_means_that_an_option_was_not_given():
    assert parse(dict.fromkeys(NAMES, "")) == parse({}) == Options()


def test_an_area_may_have_as_many_corners_as_a_municipality():
    text = round_area(2_600_000, 1_200_000, 8000)
    assert len(text) > 10 * MAX_CHARS
    assert parse({"within": text}).within == text
    ((ring,),) = area.parse("\ufeff" + text).polygons
    assert len(ring) == CORNERS


def test_a_format_may_be_named_by_an_extension():
    assert [parse({"format": name}).format for name in ("TXT", ".csv", "kitti")] == ["text", "text", "kitti"]


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("mode", "slow", [mode.value for mode in Mode]),
        ("output", "dwg", WRITERS),
        ("format", "dwg", READERS),
        ("fields", "confidence,certainty", FIELDS),
        ("seed", "-1", ["0 or more"]),
        ("seed", str(2**32), ["less than 4294967296"]),
        ("seed", "1.5", ["a whole number"]),
        ("max_passes", "0", ["more than 0"]),
        ("timeout_s", "soon", ["a number"]),
        ("timeout_s", "1e6", ["86400 or less"]),
        ("columns", "x," * 5000, ["at most 4096 entries"]),
        ("crs", "x" * (MAX_CHARS + 1), ["65,536"]),
        ("smooth", "65", ["64 or less"]),
        ("noise", "perhaps", ["yes or no"]),
        ("vegetation_heights", "2,0.5", ["two numbers that ascend"]),
        ("vegetation_heights", "0.5", ["two numbers that ascend, or 'model'."]),
        ("vegetation_heights", "modell", ["expected a number, or 'model'."]),
        ("preserve_flags", "hidden,sinthetic", ["'hidden' is not accepted", "'overlap' or 'key_point'."]),
        ("vegetation_heights", "0.5,high", ["a number"]),
        ("vegetation_heights", "0.5,inf", ["1000 or less"]),
        ("ground", "water", ["model", "file"]),
        ("model", "x" * 201, ["at most 200 characters"]),
        ("preserve", "2,256", ["255 or less"]),
        ("only", "ground", ["a whole number"]),
        ("classes", "building", ["building:6"]),
        ("classes", "building:600", ["0 to 255"]),
        ("within", "x" * ((1 << 20) + 1), ["1,048,577 characters", "at most 1,048,576"]),
        ("within", "1,2,3", ["xmin,ymin,xmax,ymax"]),
        ("within", '{"type": "Point", "coordinates": [1, 2]}', ["GeoJSON Polygon", "it is a Point"]),
        ("preserve_flags", "hidden", ["withheld"]),
        ("classification_to", "my class", ["letters, digits and underscores"]),
    ],
)
def test_a_value_that_is_not_accepted_is_told_with_those_that_are(name, value, accepted):
    with pytest.raises(BadRequest) as caught:
        parse({name: value})
    assert caught.value.detail.startswith(f"{name}: ")
    assert all(word in caught.value.detail for word in accepted)


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(BadRequest) as caught:
        parse({"mode": "slow", "sede": "1", "seed": "2", "crs": "x"}, {"crs": "given twice"})
    assert all(word in caught.value.detail for word in ("mode: 'slow'", "'sede' is no option", "crs: given twice"))
    assert "seed:" not in caught.value.detail
    assert all(name in caught.value.detail for name in NAMES)


def test_what_was_not_given_is_filled_in_and_only_then_asked_for():
    options = Options(filename="a.las")

    def never() -> str:
        raise AssertionError

    filled = options.or_else(filename=never, output=lambda: "laz")
    assert filled == Options(filename="a.las", output="laz")
    with pytest.raises(ValidationError):
        options.or_else(output=lambda: "dwg")


def test_options_cross_a_process_boundary_whole():
    options = parse(GIVEN)
    arrived = TypeAdapter(Options).validate_python(json.loads(json.dumps(dataclasses.asdict(options))))
    assert arrived == options
    assert arrived.mode is Mode.EXACT


def test_arguments_of_reading_are_those_of_the_reader():
    assert set(parse(GIVEN).reading) == set(READING)
    assert parse(GIVEN).reading["columns"] == ("x", "y", "z")


def test_every_option_is_described():
    described = properties()
    assert list(described) == list(NAMES)
    assert all(schema["description"].endswith(".") for schema in described.values())
    assert all(f"{mode}: {mode.description}" in described["mode"]["description"] for mode in Mode)
