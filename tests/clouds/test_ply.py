import contextlib
import struct

import numpy as np
import pytest
from cloud_samples import RGB, XYZ, cloud, segmentation

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, Problem, TooLarge, UnsupportedFormat

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
def test_colours_of_any_type_and_name(declared, values, expected, warned, names):
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
    with pytest.raises(BadCloud, match="varying"):
        read(vertices(lists, "2 8 9 1 2 3\n1 8 9 4 5 6\n"))


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
        (vertices(XYZ_PROPERTIES, "1 2 3 4\n1 2 3 4\n"), "4 values"),
        (vertices("property float x\nproperty float y\n", "1 2\n1 2\n"), "No columns x, y and z"),
        (vertices(XYZ_PROPERTIES + "property float x\n", "1 2 3 4\n1 2 3 4\n"), "twice"),
        (vertices(XYZ_PROPERTIES + "property half w\n", "1 2 3 4\n1 2 3 4\n"), "Line 7 of the PLY header"),
        (vertices(XYZ_PROPERTIES + "property uchar red\n", "1 2 3 300\n1 2 3 4\n"), "outside"),
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
