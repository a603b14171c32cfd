import contextlib
import io
import struct

import numpy as np
import pytest
from plyfile import PlyData

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, Problem, TooLarge, UnsupportedFormat
from tests.clouds.cloud_samples import RGB, XYZ, cloud, segmentation

HEADER = """ply
format {format} 1.0
comment made by hand
obj_info num_cols 3
element face 2
property list uchar int vertex_indices
property uchar flag
element vertex 3
property double x
property double y
property double z
property uchar red
property uchar green
property uchar blue
property float scalar_Intensity
element edge 1
property int vertex1
property int vertex2
end_header
"""
FACES = [[0, 1, 2], [2, 1, 0]]
ENCODINGS = ["ascii", "binary_little_endian", "binary_big_endian"]


def mesh(format: str, faces: list[list[int]] = FACES, header: str = HEADER) -> bytes:
    head = header.format(format=format).encode()
    if format == "ascii":
        lines = [" ".join(map(str, [len(face), *face, 7])) for face in faces]
        lines += [
            f"{x!r} {y!r} {z!r} {r} {g} {b} 0.5"
            for (x, y, z), (r, g, b) in zip(XYZ.tolist(), RGB.tolist(), strict=True)
        ]
        return head + "\n".join([*lines, "0 1", ""]).encode()
    order = "<" if format == "binary_little_endian" else ">"
    body = b"".join(struct.pack(f"{order}B{len(face)}iB", len(face), *face, 7) for face in faces)
    body += b"".join(
        struct.pack(f"{order}3d3Bf", *xyz, *rgb, 0.5) for xyz, rgb in zip(XYZ.tolist(), RGB.tolist(), strict=True)
    )
    return head + body + struct.pack(f"{order}2i", 0, 1)


def read(data: bytes | str, **options) -> Cloud:
    return formats.read(memoryview(data if isinstance(data, bytes) else data.encode()), **options)


def check(cloud: Cloud) -> None:
    assert cloud.format == "ply"
    assert cloud.xyz.tolist() == XYZ.tolist()
    assert cloud.rgb.tolist() == RGB.tolist()
    assert cloud.intensity.tolist() == [0.5] * 3


@pytest.mark.parametrize("format", ENCODINGS)
@pytest.mark.parametrize("faces", [FACES, [[0, 1], [0, 1, 2]], [[], [0, 1, 2, 0, 1, 2]]])
def test_every_encoding_with_lists_before_the_vertices(format, faces):
    check(read(mesh(format, faces)))


def test_header_with_crlf_and_bool():
    header = HEADER.replace("property uchar flag", "property bool flag").replace("\n", "\r\n")
    check(read(mesh("binary_little_endian", header=header)))
    check(read(mesh("ascii", header=header).replace(b"\n", b"\r\n").replace(b"\r\r", b"\r")))


@pytest.mark.parametrize(
    ("declared", "values", "expected", "warned"),
    [
        ("uchar", "0 128 255", [0, 128, 255], False),
        ("uint16", "0 32896 65535", [0, 128, 255], True),
        ("float32", "0 0.5 1", [0, 128, 255], True),
        ("float64", "0 128 255", [0, 128, 255], False),
    ],
)
@pytest.mark.parametrize(
    "names", ["red green blue", "r g b", "diffuse_red diffuse_green diffuse_blue", "Red Green Blue"]
)
def test_colors_of_any_type_and_name(declared, values, expected, warned, names):
    properties = "".join(f"property {declared} {name}\n" for name in names.split())
    head = "ply\nformat ascii 1.0\nelement vertex 1\nproperty int x\nproperty short y\nproperty int64 z\n"
    cloud = read(f"{head}{properties}end_header\n1 2 3 {values}\n")
    assert cloud.rgb.tolist() == [expected]
    assert bool(cloud.warnings) == warned


def test_cloudcompare_names():
    head = "ply\nformat ascii 1.0\nelement vertex 1\n"
    names = "x y z nx ny nz scalar_Classification scalar_Return_Number scalar_GpsTime scalar_Roughness"
    properties = "".join(f"property float {name}\n" for name in names.split())
    cloud = read(f"{head}{properties}end_header\n1 2 3 0 1 0 6 2 100.5 0.25\n")
    assert cloud.normals.tolist() == [[0, 1, 0]]
    assert {name: values.tolist() for name, values in cloud.extra.items()} == {
        "classification": [6],
        "return_number": [2],
        "gps_time": [100.5],
        "scalar_Roughness": [0.25],
    }


def vertices(properties: str, rows: str, count: int = 2) -> str:
    return f"ply\nformat ascii 1.0\nelement vertex {count}\n{properties}end_header\n{rows}"


XYZ_PROPERTIES = "property float x\nproperty float y\nproperty float z\n"


def test_lists_of_vertices():
    lists = "property list uchar int ids\n" + XYZ_PROPERTIES
    assert read(vertices(lists, "2 8 9 1 2 3\n2 8 9 4 5 6\n")).xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    cloud = read(vertices(lists, "2 8 9 1 2 3\n1 8 4 5 nan(ind)\n"))
    assert (cloud.xyz[0].tolist(), cloud.xyz[1, :2].tolist()) == ([1, 2, 3], [4, 5])
    assert np.isnan(cloud.xyz[1, 2])
    assert cloud.warnings == ["Lists of the vertices are not read: 'ids'."]


LISTED = (
    "ply\nformat {format} 1.0\ncomment of views\nelement vertex 4\nproperty float x\nproperty list uchar uint views\n"
    "property float y\nproperty float z\nproperty list ushort float weights\nproperty uchar red\nproperty uchar green\n"
    "property uchar blue\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
)


def with_lists(format: str, lengths: list[int]) -> bytes:
    """Four vertices that carry two lists of these lengths each, then a face."""
    order, rows = "<" if "little" in format else ">", []
    for i, length in enumerate(lengths):
        views, weights = range(length), [0.5] * (length + 1)
        if format == "ascii":
            rows.append(
                f"{i} {length} {' '.join(map(str, views))} 2 3 {length + 1} {' '.join(map(str, weights))} 7 8 {i}\n"
            )
        else:
            rows.append(struct.pack(f"{order}fB{length}I", i, length, *views))
            rows.append(struct.pack(f"{order}ffH{length + 1}f3B", 2, 3, length + 1, *weights, 7, 8, i))
    face = "3 0 1 2\n" if format == "ascii" else struct.pack(f"{order}B3i", 3, 0, 1, 2)
    body = "".join([*rows, face]).encode() if format == "ascii" else b"".join([*rows, face])
    return LISTED.format(format=format).encode() + body


@pytest.mark.filterwarnings("ignore:loadtxt")  # plyfile, over lists without an entry
@pytest.mark.parametrize("format", ENCODINGS)
@pytest.mark.parametrize("lengths", [[2, 3, 0, 1], [0, 0, 0, 4], [2, 2, 2, 2], [0, 0, 0, 0]])
def test_lists_of_any_length_at_the_vertices_and_the_answer_that_keeps_them(format, lengths):
    source = with_lists(format, lengths)
    cloud = read(source)
    assert cloud.xyz.tolist() == [[i, 2, 3] for i in range(4)]
    assert cloud.rgb.tolist() == [[7, 8, i] for i in range(4)]
    assert cloud.warnings == ["Lists of the vertices are not read: 'views', 'weights'."]
    answer = segmentation(4)
    written = formats.write("ply", cloud, answer, memoryview(source))
    back = PlyData.read(io.BytesIO(written))
    before = PlyData.read(io.BytesIO(source))
    assert back["vertex"]["label"].tolist() == answer.labels.tolist()
    for name in ("x", "y", "z", "red", "green", "blue"):
        assert back["vertex"][name].tolist() == before["vertex"][name].tolist()
    for name in ("views", "weights"):
        assert [list(row) for row in back["vertex"][name]] == [list(row) for row in before["vertex"][name]]
    assert list(back["face"]["vertex_indices"][0]) == [0, 1, 2]
    for size in range(len(source) - len(source.partition(b"end_header")[2]), len(source) - 14):
        with pytest.raises(Problem):
            read(source[:size])


@pytest.mark.parametrize("format", ENCODINGS)
def test_what_is_cut_after_the_vertices_is_told(format):
    source = with_lists(format, [1, 2, 0, 1])[:-2]
    source = source if format != "ascii" else source.replace(b"3 0 1 ", b"")
    cloud = read(source)
    assert cloud.xyz.tolist() == [[i, 2, 3] for i in range(4)]
    assert "The PLY ends within its rows of 'face', which are not needed; the points are whole." in cloud.warnings
    assert len(read(formats.write("ply", cloud, segmentation(4), memoryview(source))).xyz) == 4


def test_a_property_named_twice():
    properties = XYZ_PROPERTIES + "property float x\nproperty uchar red\nproperty uchar red\n"
    for data in (
        vertices(properties, "1 2 3 4 5 6\n1 2 3 4 5 6\n").encode(),
        vertices(properties, "").replace("ascii", "binary_little_endian").encode()
        + struct.pack("<4f2B", 1, 2, 3, 4, 5, 6) * 2,
    ):
        cloud = read(data)
        assert cloud.xyz.tolist() == [[1, 2, 3]] * 2
        assert {name: values.tolist() for name, values in cloud.extra.items()} == {
            "x_2": [4, 4],
            "red": [5, 5],
            "red_2": [6, 6],
        }
        assert cloud.warnings == ["Columns named more than once; the first counts: 'x', 'red'."]
        back = read(formats.write("ply", cloud, segmentation(2), memoryview(data)))
        assert (back.extra["x_2"].tolist(), back.extra["label"].tolist()) == ([4, 4], [0, 1])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vertex 3", "Vertex 3"),
        ("element vertex 3", "element point 3"),
        ("property double", "property DOUBLE"),
        ("property double", "PROPERTY\tFloat64 "),
        ("element vertex", "ELEMENT vertex"),
        ("element vertex 3\n", "element vertex 3\ncomment between\n\nobj_info more\n"),
        ("format ascii 1.0", "format ascii"),
        ("end_header\n", "END_HEADER \n"),
        ("element edge 1\nproperty int vertex1", "element edge 1\nproperty quaternion vertex1"),
    ],
)
def test_headers_of_other_writers(old, new):
    header = HEADER.replace("{format}", "ascii").replace(old, new)
    source = mesh("ascii", header=header)
    check(read(source))
    assert read(source).warnings == []
    check(read(formats.write("ply", read(source), segmentation(), memoryview(source))))


def test_lines_of_the_header_that_say_nothing_of_the_points():
    source = mesh("binary_big_endian", header=HEADER.replace("obj_info", "texture_file a.png\nobj_info"))
    check(read(source))
    assert read(source).warnings == ["Lines of the PLY header that are not understood: 'texture_file a.png'."]
    assert b"texture_file a.png" in formats.write("ply", read(source), segmentation(), memoryview(source))


def test_values_that_a_stated_type_does_not_hold():
    cloud = read(vertices(XYZ_PROPERTIES + "property uchar ring\n", "1 2 3 300\n1 2 3 nan\n"))
    assert cloud.extra["ring"][0] == 300
    assert cloud.warnings == ["PLY property 'ring' is declared uint8 but holds values outside of it."]


@pytest.mark.parametrize("word", ["nan(ind)", "-nan(ind)", "-1.#IND", "1.#QNAN", "nan"])
def test_words_for_no_number(word):
    cloud = read(vertices(XYZ_PROPERTIES, f"1 2 {word}\n4 5 6\n"))
    assert cloud.xyz[1].tolist() == [4, 5, 6]
    assert np.isnan(cloud.xyz[0]).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("ply\nformat ascii 1.0\nelement vertex 3\n", "end_header"),
        ("ply\nformat ascii 1.0\nelement face 0\nproperty list uchar int i\nend_header\n", "no element 'vertex'"),
        (vertices(XYZ_PROPERTIES, "", 0), "no points"),
        (vertices(XYZ_PROPERTIES, "1 2 3\n", 2), "1 of 2"),
        (vertices(XYZ_PROPERTIES, "1 2 3\n", 10**15), "at least 2,000,000,000,000,000 bytes"),
        (vertices(XYZ_PROPERTIES, "1 2 3\n1 2\n"), "Line 9 has 2 columns"),
        (vertices(XYZ_PROPERTIES, "1 2 3\n1 2 x\n"), "Line 9, column 3"),
        (vertices(XYZ_PROPERTIES, "1 2 3 4\n1 2 3 4\n"), "Line 8 has 4 columns; expected 3"),
        (vertices("property float x\nproperty float y\n", "1 2\n1 2\n"), "No columns x, y and z"),
        (vertices(XYZ_PROPERTIES + "property half w\n", "1 2 3 4\n1 2 3 4\n"), "Line 7 of the PLY header"),
        ("ply\nformat binary_middle_endian 1.0\nelement vertex 1\nend_header\n", "Line 2"),
        ("ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "Line 3"),
        ("ply\nproperty float x\nend_header\n", "Line 2"),
        ("ply\nend_header\n", "no line 'format'"),
    ],
)
def test_faults_are_told(data, message):
    with pytest.raises(BadCloud) as raised:
        read(data)
    assert message in raised.value.detail


@pytest.mark.parametrize("format", ENCODINGS)
def test_cut_anywhere_is_a_problem_never_fewer_points(format):
    data = mesh(format, [[0, 1], [0, 1, 2]])
    for size in range(1, len(data) - 12):
        with pytest.raises(Problem):
            read(data[:size])


@pytest.mark.parametrize("format", ENCODINGS)
def test_any_damaged_byte_is_a_cloud_or_a_problem(format):
    data = mesh(format)
    for position in range(len(data)):
        with contextlib.suppress(BadCloud, UnsupportedFormat):
            assert len(read(data[:position] + bytes([data[position] ^ 0xA5]) + data[position + 1 :])) > 0


def test_negative_list_length():
    header = HEADER.replace("list uchar int", "list char int")
    data = bytearray(mesh("binary_little_endian", [[0, 1], [0, 1, 2]], header))
    data[data.index(b"end_header\n") + len("end_header\n")] = 0xFF
    with pytest.raises(BadCloud, match="negative"):
        read(bytes(data))


def test_more_points_than_allowed():
    with pytest.raises(TooLarge):
        read(mesh("ascii"), max_points=2)


@pytest.mark.parametrize("format", ENCODINGS)
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_writing_keeps_all_of_the_source(format, eol):
    header = HEADER.replace("\n", eol)
    source = mesh(format, [[0, 1], [0, 1, 2]], header)
    if format == "ascii":
        source = source.replace(b"\r", b"").replace(b"\n", eol.encode())
    confidence = np.array([0.5, 0.25, 0], np.float32)
    out = formats.write("ply", read(source), segmentation(confidence=confidence), memoryview(source))
    back = read(out)
    check(back)
    assert back.extra["label"].tolist() == [0, 1, -1]
    assert back.extra["confidence"].tolist() == [0.5, 0.25, 0]
    added = f"property int label{eol}property float confidence{eol}".encode()
    head, _, body = out.partition(b"end_header")
    old_head, _, old_body = source.partition(b"end_header")
    assert head.replace(added, b"") == old_head
    assert len(body) > len(old_body)
    face_bytes = len("\r\n2 0 1 7\r\n3 0 1 2 7") if format == "ascii" else len(eol) + 2 * 2 + 5 * 4
    assert body[:face_bytes] == old_body[:face_bytes]
    assert body[-8:] == old_body[-8:] if format != "ascii" else body.endswith(f"{eol}0 1{eol}".encode())


def test_a_label_in_the_source_is_kept():
    source = vertices(XYZ_PROPERTIES + "property int label\n", "1 2 3 40\n4 5 6 50\n").encode()
    back = read(formats.write("ply", read(source), segmentation(2), memoryview(source)))
    assert back.extra["label"].tolist() == [40, 50]
    assert back.extra["predicted_label"].tolist() == [0, 1]


def test_writing_from_a_cloud_keeps_precision_and_channels():
    normals = np.tile(np.array([0, 0.6, 0.8], np.float32), (3, 1))
    given = cloud(rgb=RGB, intensity=np.arange(3, dtype=np.float32), normals=normals)
    out = formats.write("ply", given, segmentation())
    back = read(out)
    assert b"comment label 1 big, red building\n" in out
    assert b"property double x\n" in out
    assert back.xyz.tolist() == XYZ.tolist()
    assert back.rgb.tolist() == RGB.tolist()
    assert back.intensity.tolist() == [0, 1, 2]
    assert back.normals.tolist() == normals.tolist()
    assert back.extra["label"].tolist() == [0, 1, -1]


def test_small_coordinates_are_written_as_float32_even_beside_nan():
    given = Cloud(np.array([[1.5, 2, np.nan], [np.inf, 0, 0]]), "text")
    out = formats.write("ply", given, segmentation(2))
    assert b"property float x\n" in out
    np.testing.assert_array_equal(read(out).xyz, given.xyz)


PLAIN = "ply\nformat {} 1.0\ncomment {}\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize("output", ["las", "ply", "pcd", "npz", "json", "csv", "view", "safetensors"])
def test_a_name_in_another_encoding_is_a_name(output):
    head = PLAIN.format("ascii", "Gr\xf6\xdfe", 1)
    data = memoryview((head + "property float H\xf6he\nend_header\n1 2 3 4\n").encode("latin-1"))
    found = formats.read(data)
    assert found.extra["H\xf6he"].tolist() == [4]
    assert formats.read(data, columns=("intensity:H\xf6he",)).intensity.tolist() == [4]
    answer = formats.write(output, found, segmentation(1), data)
    kept = b"comment Gr\xf6\xdfe\n" in answer, b"property float H\xf6he\n" in answer
    assert kept == ((True, True) if output == "ply" else (False, False))


@pytest.mark.parametrize("format", ["ascii", "binary_little_endian"])
def test_rows_that_the_header_does_not_count_are_told(format):
    rows = np.arange(9, dtype="<f4").reshape(3, 3)
    text = "\n".join(" ".join(map(str, row)) for row in rows.tolist()).encode()
    body, left = (text, 11) if format == "ascii" else (rows.tobytes(), 12)
    few, all_rows = (f"{PLAIN.format(format, 'c', count)}end_header\n".encode() + body for count in (2, 3))
    found = formats.read(memoryview(few))
    assert found.xyz.tolist() == rows[:2].tolist()
    assert found.warnings == [f"{left} bytes follow the 2 points that the PLY header counts; not read."]
    assert formats.read(memoryview(all_rows + b"\n \n")).warnings == []
