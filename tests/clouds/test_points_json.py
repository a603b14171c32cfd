import json

import numpy as np
import pytest

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadRequest, Problem, TooLarge


def read(body: object, **options) -> Cloud:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return formats.read(memoryview(data), **options)


def test_points_alone_are_x_y_z():
    for body in ({"points": [[1, 2, 3], [4, 5.5, 6]]}, [[1, 2, 3], [4, 5.5, 6]]):
        cloud = read(body)
        assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5.5, 6]]
        assert (cloud.format, cloud.warnings) == ("json", [])


def test_fields_name_the_columns():
    fields = ["z", "y", "x", "red", "green", "blue", "Intensity", "height"]
    cloud = read({"fields": fields, "points": [[3, 2, 1, 10, 20, 255, 0.5, 9]]})
    assert cloud.xyz.tolist() == [[1, 2, 3]]
    assert cloud.rgb.tolist() == [[10, 20, 255]]
    assert cloud.intensity.tolist() == [0.5]
    assert cloud.extra["height"].tolist() == [9]
    assert read([[3, 2, 1, 0]], columns=("z", "y", "x", "_")).xyz.tolist() == [[1, 2, 3]]


def test_null_is_not_a_number():
    xyz = read({"points": [[1, 2, None], [4, 5, 6]]}).xyz
    assert np.isnan(xyz[0, 2])
    assert xyz[1].tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"points": [[1, 2, 3, 4]]}, "add 'fields'"),
        ({"points": [[1, 2, 3]], "fields": ["x", "y"]}, "names 2 columns but points have 3"),
        ({"points": [[1, 2, 3]], "fields": "xyz"}, "not a list of names"),
        ({"points": [[1, 2, 3]], "fields": ["a", "b", "c"]}, "No columns x, y and z"),
        ({"points": [["1", "2", "3"]]}, "Point 0 holds '1'"),
        ({"points": [[1, 2, 3], [1, 2]]}, "Point 1 has 2 values"),
        ({"points": [[1, 2, 3], 4]}, "Point 1 is not a list"),
        ({"points": [1, 2, 3]}, "Point 0 is not a list"),
        ({"points": [[1, 2, [3]]]}, "Point 0 holds [3]"),
        ({"points": [[1, None, "a"]]}, "Point 0 holds 'a'"),
        ({"points": [[True, False, True]]}, "Point 0 holds True"),
        ({"points": [[]]}, "0 values each"),
        ({"points": []}, "no points"),
        ({"points": {"x": 1}}, "not a list"),
        ({"cloud": []}, "no 'points'"),
        (b"{", "Not valid JSON"),
        (b"[[1,2,nan]]", "Not valid JSON"),
        (b"[" * 500_000, "Not valid JSON"),
        (b'{"points":' * 100_000, "Not valid JSON"),
    ],
)
def test_faults_are_told(body, message):
    with pytest.raises(BadCloud) as raised:
        read(body)
    assert message in raised.value.detail


def test_options_do_not_belong_into_the_body():
    with pytest.raises(BadRequest, match="'model'"):
        read({"points": [[1, 2, 3]], "model": "m"})


def test_more_points_than_allowed():
    assert len(read({"points": [[1, 2, 3]] * 3, "fields": ["x", "y", "z"]}, max_points=3)) == 3
    for count in (4, 4000):
        with pytest.raises(TooLarge):
            read({"points": [[1, 2, 3]] * count}, max_points=3)


def test_cut_anywhere_is_a_problem():
    data = json.dumps({"points": [[1, 2, 3]], "fields": ["x", "y", "z"]}).encode()
    for size in range(1, len(data)):
        with pytest.raises(Problem):
            read(data[:size])


@pytest.mark.parametrize("word", ["null", "NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_missing_and_counted(word):
    data = f'{{"points": [[1, 2, 3, {word}], [4, {word}, 6, 7]], "fields": ["x", "y", "z", "intensity"]}}'
    cloud = formats.read(memoryview(data.encode()))
    assert np.isnan(cloud.xyz).tolist() == [[False] * 3, [False, True, False]]
    assert np.isnan(cloud.intensity).tolist() == [True, False]
    assert cloud.warnings == ["Missing values: 1 in y, 1 in intensity."]
