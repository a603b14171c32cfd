import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, BadRequest, TooLarge
from tests.clouds.cloud_samples import segmentation


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
        "% x y z\n1 2 3\n4 5 6\n",
        "%%x,y,z\n% made by hand\n1,2,3\n4,5,6\n",
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
        ("1 2 3 -1780 40 50 60\n", "x y z intensity red green blue"),
        ("1 2 3 0.5 0.25 0.125 1\n", "x y z red green blue alpha"),
        ("1 2 3 0.5 0 0 0\n1 2 3 0.7 0 0 0\n", "x y z intensity red green blue"),
        ("1 2 3 99 255 255 255\n1 2 3 40 255 255 255\n", "x y z intensity red green blue"),
        ("1 2 3 40 50 60 255\n1 2 3 4 5 6 255\n", "x y z red green blue alpha"),
    ],
)
def test_columns_without_names_are_assumed_with_a_warning(text, names):
    cloud = read(text)
    assert names in cloud.warnings[0]
    assert (cloud.rgb is not None, cloud.normals is not None) == ("red" in names, "nx" in names)
    assert (cloud.intensity is not None) == ("intensity" in names)


@pytest.mark.parametrize(
    "text", ["1 2 3 4 5\n", "1 2 3 4 5 6 700\n", "1 2 3 4 5 6 7 8\n", "1 2 3 -4 5 6\n", "1 2 3 400 5 6\n"]
)
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
        ("x,y,z\n1,2,\n4,5,\n", "Column z holds no number"),
        ("x,y,z,i\n1,2,3,4\n4,a,6,-\n", "Line 3, column 2: expected a number, found 'a'"),
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


HOLES = [
    "",
    "-",
    "--",
    "nan",
    "NaN",
    "-nan",
    "nan(ind)",
    "-nan(ind)",
    "1.#QNAN",
    "-1.#IND",
    "NA",
    "N/A",
    "#N/A",
    "null",
]
NUMBERS = [f"{i},{i * 0.5},{i % 7},{100 + i}" for i in range(50)]


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("row", [0, 7, 49])
def test_a_cell_without_a_value_is_missing_in_any_row(hole, row):
    rows = [*NUMBERS]
    rows[row] = rows[row].rpartition(",")[0] + "," + hole
    cloud = read("x,y,z,intensity\n" + "\n".join(rows))
    kept = [100 + i for i in range(50)]
    del kept[row]
    assert np.isnan(cloud.intensity[row])
    assert np.delete(cloud.intensity, row).tolist() == kept
    assert cloud.xyz[:, 1].tolist() == [i * 0.5 for i in range(50)]
    assert cloud.warnings == ["Missing values: 1 in intensity."]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_missing_values_are_counted_by_column_also_in_coordinates(delimiter):
    text = "x,y,z,red,green,blue\n,2,3,1,2,3\n4,5,,,,\n7,8,9,7,8,9\n".replace(",", delimiter)
    cloud = read(text)
    assert np.isnan(cloud.xyz).tolist() == [[True, False, False], [False, False, True], [False] * 3]
    assert cloud.rgb.tolist() == [[1, 2, 3], [0, 0, 0], [7, 8, 9]]
    assert cloud.warnings[0] == "Missing values: 1 in x, 1 in z, 1 in red, 1 in green, 1 in blue."


def test_infinity_as_visual_c_writes_it():
    assert read("x y z i\n1 2 3 1.#INF\n4 5 6 -1.#INF000\n").intensity.tolist() == [np.inf, -np.inf]


def test_the_first_row_does_not_decide_what_a_column_is():
    rows = ["1,2,3,a,5,", *(f"{i},2,3,{i},b,7" for i in range(9))]
    cloud = read("x,y,z,p,q,r\n" + "\n".join(rows))
    assert np.isnan(cloud.extra["p"][0])
    assert cloud.extra["p"][1:].tolist() == [*range(9)]
    assert cloud.extra["r"][1:].tolist() == [7] * 9
    assert "q" not in cloud.extra
    assert "Column 'q' is not numeric and was left out." in cloud.warnings
    assert "Column p: 1 of 10 cells hold no number, the first in line 2 ('a'); taken as missing." in cloud.warnings


def test_text_that_begins_after_the_sample_is_found():
    rows = [f"{i},2,3,{i}" for i in range(1500)] + ["9,9,9,x"] * 3000
    cloud = read("x,y,z,p\n" + "\n".join(rows))
    assert (len(cloud), cloud.extra) == (4500, {})
    assert cloud.warnings == ["Column 'p' is not numeric and was left out."]


def test_columns_without_names_that_are_left_out_are_told():
    assert read("1,2,3,oak\n4,5,6,ash\n").warnings == ["Column '4' is not numeric and was left out."]


def test_decimal_commas_and_holes_in_the_first_row():
    cloud = read("x;y;z;intensity\n1,5;2,5;3,5;\n4,5;5,5;6,5;7,5\n")
    assert (cloud.xyz.tolist(), cloud.intensity[1]) == ([[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]], 7.5)
    assert cloud.warnings == ["Missing values: 1 in intensity."]


def test_rows_of_other_widths_are_told_beside_columns_of_text():
    with pytest.raises(BadCloud, match="Line 3 has 6 columns; expected 5"):
        read("x,y,z,name,intensity\n1,2,3,oak,5\n4,5,6,ash, 8,9\n")


def test_lines_that_end_in_carriage_returns_alone():
    assert read("x,y,z,i\r1,2,3,4\r4,5,6,\r").xyz.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("values", ["16711680 255", "2.3418052e-38 3.57331108e-43"])
def test_packed_colors_by_name(values):
    first, second = values.split()
    cloud = read(f"x y z rgb\n1 2 3 {first}\n4 5 6 {second}\n7 8 9 nan\n")
    assert cloud.rgb.tolist() == [[255, 0, 0], [0, 0, 255], [0, 0, 0]]
    assert "Points with colors that are not finite: 1; taken as black." in cloud.warnings


def test_columns_without_any_value_are_left_out():
    cloud = read("x,y,z,intensity,ring\n1,2,3,,4\n4,5,6,,5\n")
    assert cloud.intensity is None
    assert cloud.warnings == ["Column 'intensity' is without any value and was left out."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x;y;z\n1,5;2,25;3\n4;5;6,125\n", [[1.5, 2.25, 3], [4, 5, 6.125]]),
        ("x;y;z\n1;2;3\n4,5;5;6\n", [[1, 2, 3], [4.5, 5, 6]]),
        ("x y z\n1,5 2,25 3\n4 5 6,125\n", [[1.5, 2.25, 3], [4, 5, 6.125]]),
        ("x;y;z\n1.234,5;2.345.678,25;3,5\n4;5;6\n", [[1234.5, 2345678.25, 3.5], [4, 5, 6]]),
        ("x;y;z\n1 234,5;2 345 678,25;3,5\n4;5;6\n", [[1234.5, 2345678.25, 3.5], [4, 5, 6]]),
        ("x\ty\tz\n1,234.5\t2,345,678.25\t3.5\n4\t5\t6\n", [[1234.5, 2345678.25, 3.5], [4, 5, 6]]),
        ('x,y,z\n"1,234.5","2,345,678.25",3.5\n4,5,6\n', [[1234.5, 2345678.25, 3.5], [4, 5, 6]]),
        ("x;y;z\n1'234.5;2'345'678.25;3.5\n4;5;6\n", [[1234.5, 2345678.25, 3.5], [4, 5, 6]]),
    ],
)
def test_numbers_as_people_write_them(text, expected):
    cloud = read(text)
    assert cloud.xyz.tolist() == expected
    assert ("between thousands" in "".join(cloud.warnings)) == (expected[0][0] == 1234.5)


@pytest.mark.parametrize(
    "text",
    [
        "x y z\n\n \n1 2 3\n4 5 6\n",
        '"x" "y" "z"\n1 2 3\n4 5 6\n',
        "sep=;\nx;y;z\n1;2;3\n4;5;6\n",
        "x,y,z\n1,2,3,\n4,5,6\n",
        "x,y,z\n1,2,3\n4,5,6,,\n",
        "1 2, 3\n4 5, 6\n",
        "1;2 3\n4;5 6\n",
        "x,y,z\n1,2,3\n# between\n4,5,6\n",
        "x y z\n1 2 3\n// between\n\n4 5 6\n",
    ],
)
def test_more_writings_of_one_table(text):
    cloud = read(text)
    assert (cloud.xyz.tolist(), cloud.warnings) == ([[1, 2, 3], [4, 5, 6]], [])


def test_header_with_blanks_in_quoted_names():
    cloud = read('"x" "y" "z" "Scalar field" "Return Number"\n1 2 3 4 5\n')
    assert (cloud.extra["Scalar field"].tolist(), cloud.extra["return_number"].tolist()) == ([4], [5])
    cloud = read("x,y,z,name,intensity\n1,2,3,big old tree,7\n4,5,6,oak,8\n")
    assert cloud.intensity.tolist() == [7, 8]


def test_lines_around_a_header_are_told():
    cloud = read("Trees of the park\nx,y,z,intensity\n[m],[m],[m],\n1,2,3,4\n,,,\n5,6,7,8\n")
    assert cloud.intensity.tolist() == [4, 8]
    assert cloud.warnings == [
        "Lines before the table that were not read: 'Trees of the park', '[m],[m],[m],'.",
        "Rows of empty cells that were left out: 1.",
    ]


def test_float_colors_of_cloudcompare():
    cloud = read("//X Y Z Rf Gf Bf A\n1 2 3 0.50196 0.25098 1 1\n")
    assert cloud.rgb.tolist() == [[128, 64, 255]]
    cloud = read("X,Y,Z,Rf,Gf,Bf,red,green,blue\n1,2,3,0,0,0,7,8,9\n")
    assert cloud.rgb.tolist() == [[7, 8, 9]]
    assert list(cloud.extra) == ["Rf", "Gf", "Bf"]


def test_a_name_that_comes_twice_is_told():
    cloud = read("x,y,z,x,intensity,intensity\n1,2,3,4,5,6\n")
    assert (cloud.xyz.tolist(), cloud.intensity.tolist()) == ([[1, 2, 3]], [5])
    assert (cloud.extra["x_2"].tolist(), cloud.extra["intensity_2"].tolist()) == ([4], [6])
    assert cloud.warnings == ["Columns named more than once; the first counts: 'x', 'intensity'."]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (lambda i: f"{i} {i * 0.7} {i * 0.3} 5", "column 1 counts the rows"),
        (lambda i: f"{1.6e9 + i * 0.1} {i * 0.7} {i * 0.3} 5", "column 1 looks like the time"),
        (lambda i: f"{i * 0.7} {-i} 5 {(77 + i) << 16 | i * 3}", "packed into one number"),
        (lambda i: f"{i * 0.7} {-i} 5 {2.3e-38 + i * 1e-41}", "packed into one number"),
    ],
)
def test_columns_without_names_that_are_no_coordinates_are_asked_for(row, reason):
    text = "\n".join(map(row, range(40)))
    with pytest.raises(BadCloud, match=reason):
        read(text)
    assert len(read(text, columns=("_", "x", "y", "z"))) == 40


@pytest.mark.parametrize(
    "text", ["SIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 2\nDATA ascii\n1 2 3\n4 5 6\n", "DATA ascii\n1 2 3\n4 5 6\n"]
)
def test_a_pcd_without_the_top_of_its_header_is_no_table(text):
    with pytest.raises(BadCloud, match="PCD header"):
        read(text)


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


PLACES = st.floats(-1e13, 1e13) | st.sampled_from([float("inf"), float("-inf")])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(*[PLACES] * 3), min_size=1, max_size=20),
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


@pytest.mark.parametrize("cell", ["1.#J", "-1.#J", "1.#R", "-1.#IO", "1.#QO", "1.#QNAN00", "-1.#IND", "#N/A"])
def test_not_a_number_as_visual_c_rounds_it(cell):
    found = read(f"x,y,z,intensity\n1,2,3,4\n5,6,7,{cell}\n8,9,10,11\n")
    assert np.isnan(found.intensity).tolist() == [False, True, False]
    assert found.intensity[[0, 2]].tolist() == [4, 11]
    assert read("x,y,z,intensity\n1,2,3,-1.#INF\n1,2,3,4\n").intensity.tolist() == [-np.inf, 4]
    assert read("x y z\n1 2 3.#remark\n").xyz.tolist() == [[1, 2, 3]]


def test_names_in_latin_1_can_be_given():
    text = "x;y;z;H\xf6he\n1;2;3;4\n5;6;7;8\n".encode("latin-1")
    assert read(text).extra["H\xf6he"].tolist() == [4, 8]
    assert read(text, columns=("intensity:H\xf6he",)).intensity.tolist() == [4, 8]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("x;y;z;Scalar field #2;height", ["Scalar field #2", "height"]),
        ('"x";"y";"z";"Scalar field #2";"C//D"', ["Scalar field #2", "C//D"]),
        ("//X;Y;Z;Scalar field #2;height", ["Scalar field #2", "height"]),
        ("x;y;z;a;b # all in metres", ["a", "b"]),
        ("x y z a b // all in metres", ["a", "b"]),
    ],
)
@pytest.mark.parametrize("output", ["las", "ply", "pcd"])
def test_a_name_with_the_mark_of_a_comment(header, names, output):
    found = read(f"{header}\n1;2;3;4;5\n6;7;8;9;10\n")
    assert {name: values.tolist() for name, values in found.extra.items()} == dict(
        zip(names, ([4, 9], [5, 10]), strict=True)
    )
    assert found.warnings == []
    answer = formats.read(memoryview(formats.write(output, found, segmentation(2))))
    assert [4, 9] in [values.tolist() for values in answer.extra.values()]
