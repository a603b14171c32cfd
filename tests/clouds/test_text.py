import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadRequest, TooLarge


def read(text: str | bytes, **options) -> Cloud:
    data = text if isinstance(text, bytes) else text.encode()
    return formats.read(memoryview(data), **{"filename": "a.txt", **options})


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3\n4 5 6\n",
        "1 2 3\n4 5 6",
        "1,2,3\r\n4,5,6\r\n",
        "1, 2, 3\n4, 5, 6\n",
        "1,2,3,\n4,5,6,\n",
        "1\t2\t3\n4\t5\t6\n",
        "1;2;3\n4;5;6\n",
        "1,0;2,0;3,0\n4;5;6\n",
        "  1   2 3 \n\n4 5\t6\n\n",
        "# a remark\n1 2 3 # one\n4 5 6\n",
        "// a remark\n1 2 3 // one\n4 5 6\n",
        "x y z\n1 2 3\n4 5 6\n",
        "X,Y,Z\n1e0,2.0,+3\n4,5,6\n",
        '"x","y","z"\n"1","2","3"\n4,5,6\n',
        "# x y z\n1 2 3\n4 5 6\n",
        "//X Y Z\n2\n1 2 3\n4 5 6\n",
        "2\n1 2 3\n4 5 6\n",
        "z;y;x\n3;2;1\n6;5;4\n",
        b"\xef\xbb\xbf1 2 3\n4 5 6\n",
        "x,y,z\n1,2,3,\n4,5,6,\n",
    ],
)
def test_writings_of_one_table(text):
    cloud = read(text)
    assert cloud.xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cloud.format == "text"
    assert cloud.warnings == []


def test_header_names_decide():
    cloud = read("//X Y Z R G B nX nY nZ Scalar_Intensity Return_Number height\n1 2 3 10 20 30 0 0 1 0.5 2 7\n")
    assert cloud.rgb.tolist() == [[10, 20, 30]]
    assert cloud.normals.tolist() == [[0, 0, 1]]
    assert cloud.intensity.tolist() == [0.5]
    assert cloud.extra["return_number"].tolist() == [2]
    assert cloud.extra["height"].tolist() == [7]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 2 3 0.5\n", "x y z intensity"),
        ("1 2 3 4 5 6\n", "x y z red green blue"),
        ("1 2 3 0.6 0 0.8\n1 2 3 0 0 0\n", "x y z nx ny nz"),
        ("1 2 3 4 5 6 0 0 1\n", "x y z red green blue nx ny nz"),
        ("1\n1 2 3 0.5 4 5 6\n", "x y z intensity red green blue"),
    ],
)
def test_columns_without_names_are_assumed_with_a_warning(text, names):
    cloud = read(text)
    assert names in cloud.warnings[0]
    assert (cloud.rgb is not None, cloud.normals is not None) == ("red" in names, "nx" in names)
    assert (cloud.intensity is not None) == ("intensity" in names)


@pytest.mark.parametrize("text", ["1 2 3 4 5\n", "1 2 3 4 5 6 7\n", "1 2 3 -4 5 6\n", "1 2 3 400 5 6\n"])
def test_columns_that_could_be_anything_are_asked_for(text):
    with pytest.raises(BadCloud, match="columns="):
        read(text)


def test_columns_option_names_and_skips():
    cloud = read("tree 1 2 3 9 8\noak 4 5 6 7 6\n", columns=("_", "z", "y", "x", "_", "strength"))
    assert cloud.xyz.tolist() == [[3, 2, 1], [6, 5, 4]]
    assert cloud.intensity.tolist() == [8, 6]
    assert cloud.extra == {}


def test_columns_option_overrides_a_header():
    assert read("a b c\n1 2 3\n", columns=("z", "y", "x")).xyz.tolist() == [[3, 2, 1]]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (("x", "y"), BadRequest),
        (("x", "y", "q"), BadRequest),
        (("x", "y", "z", "x"), BadRequest),
        (("x", "y", "z"), BadCloud),
    ],
)
def test_columns_option_that_does_not_fit(columns, error):
    with pytest.raises(error, match="column"):
        read("1 2 3 4\n", columns=columns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x y z\n1 2 3\n\n4 5\n", "Line 4 has 2 columns; expected 3"),
        ("1,2,3\n4,5,6,7\n", "Line 2 has 4 columns; expected 3"),
        ("1,2,3\n4,,6\n", "Line 2, column 2: expected a number, found ''"),
        ("1 2 3\n4 five 6\n", "Line 2, column 2: expected a number, found 'five'"),
        ("1 2\n3 4\n", "Line 1 has 2 numbers"),
        ("3\n1 2 3\n4 5 6\n", "promises 3 points, but 2 rows"),
        ("x y z\n", "no row"),
        ("a b c\n1 2 3\n", "does not name x, y and z"),
        ("x y z\n1 2 3 4\n", "names 3 columns, but line 2 has 4"),
        ("hello\nworld\n", "Line 2: expected a row of numbers, found 'world'"),
    ],
)
def test_faults_are_told_with_their_place(text, message):
    with pytest.raises(BadCloud) as raised:
        read(text)
    assert message in raised.value.detail


def test_text_columns_are_left_out_with_a_warning():
    cloud = read("x,y,z,label,class\n1,2,3,4,ground\n1,2,3,5,tree\n")
    assert cloud.extra["label"].tolist() == [4, 5]
    assert cloud.warnings == ["Column 'class' is not numeric and was left out."]


def test_not_a_number_is_kept():
    assert np.isnan(read("1 2 3\nnan NaN inf\n").xyz[1, :2]).all()


def test_more_points_than_allowed():
    with pytest.raises(TooLarge, match="5"):
        read("1 2 3\n" * 6, max_points=5)
    with pytest.raises(TooLarge):
        read("99999999999999999999\n1 2 3\n", max_points=5)
    assert len(read("1 2 3\n" * 5, max_points=5)) == 5


def test_a_line_without_end_is_refused():
    with pytest.raises(BadCloud, match="no table"):
        read("a" * 100_000)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.floats(allow_nan=False)] * 3), min_size=1, max_size=20),
    delimiter=st.sampled_from([",", ";", "\t", " ", ", "]),
    eol=st.sampled_from(["\n", "\r\n"]),
    header=st.booleans(),
)
def test_any_numbers_come_back_as_written(rows, delimiter, eol, header):
    lines = [delimiter.join("xyz")] * header + [delimiter.join(map(repr, row)) for row in rows]
    assert read(eol.join(lines)).xyz.tolist() == [list(row) for row in rows]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='0123456789.,;-+ \t\r\n#/xyzrgbnaif"e', max_size=80))
def test_any_text_is_a_cloud_or_a_problem(text):
    with contextlib.suppress(BadCloud):
        assert len(read(text)) > 0
