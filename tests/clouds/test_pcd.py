import contextlib
import struct

import lzf
import numpy as np
import pytest

from app.clouds import formats, pcd
from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from app.errors import BadCloud, TooLarge

RNG = np.random.default_rng(0)
XYZ = RNG.uniform(-50, 50, (60, 3)).astype(np.float32)
RGB = RNG.integers(0, 256, (60, 3), dtype=np.uint8)
PACKED = (RGB[:, 0].astype(np.uint32) << 16) | (RGB[:, 1].astype(np.uint32) << 8) | RGB[:, 2]
STAMP = np.arange(60, dtype=np.uint64) + 1_700_000_000_123_456_789
RECORD = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("_", "<u1", 4),
        ("rgb", "<u4"),
        ("normal_x", "<f4"),
        ("normal_y", "<f4"),
        ("normal_z", "<f4"),
        ("intensity", "<f4"),
        ("ring", "<u2"),
        ("descriptor", "<f4", 3),
        ("stamp", "<u8"),
    ]
)
RECORDS = np.zeros(60, RECORD)
RECORDS["x"], RECORDS["y"], RECORDS["z"] = XYZ.T
RECORDS["rgb"] = PACKED
RECORDS["normal_z"] = 1
RECORDS["intensity"] = np.arange(60)
RECORDS["ring"] = np.arange(60) % 16
RECORDS["descriptor"] = RNG.random((60, 3))
RECORDS["stamp"] = STAMP


def header(encoding, rgb_type="F", newline="\n", without=(), **overrides):
    values = {
        "VERSION": ".7",
        "FIELDS": "x y z _ rgb normal_x normal_y normal_z intensity ring descriptor stamp",
        "SIZE": "4 4 4 1 4 4 4 4 4 2 4 8",
        "TYPE": f"F F F U {rgb_type} F F F F U F U",
        "COUNT": "1 1 1 4 1 1 1 1 1 1 3 1",
        "WIDTH": "60",
        "HEIGHT": "1",
        "VIEWPOINT": "1 2 3 1 0 0 0",
        "POINTS": "60",
        "DATA": encoding,
    } | overrides
    lines = ["# made by a test", *(f"{key} {value}" for key, value in values.items() if key not in without)]
    return (newline.join(lines) + newline).encode()


def block(padding):
    names = [name for name in RECORD.names if padding or name != "_"]
    return b"".join(np.ascontiguousarray(RECORDS[name]).tobytes() for name in names)


def compressed(padding=False, **options):
    plain = block(padding)
    packed = lzf.compress(plain, 2 * len(plain))
    return header("binary_compressed", **options) + struct.pack("<II", len(packed), len(plain)) + packed


def text(separator=" ", rgb_type="F", newline="\n"):
    lines = []
    for record in RECORDS:
        rgb = record["rgb"].view("<f4") if rgb_type == "F" else record["rgb"]
        numbers = [*(record[axis] for axis in "xyz"), 0, 0, 0, 0]
        words = [f"{number:.9g}" for number in numbers] + [f"{rgb:.9g}" if rgb_type == "F" else str(rgb)]
        words += [f"{record[name]:.9g}" for name in ("normal_x", "normal_y", "normal_z", "intensity")]
        words += [str(record["ring"]), *(f"{value:.9g}" for value in record["descriptor"]), str(record["stamp"])]
        lines.append(separator.join(words))
    kind = "F" if rgb_type == "whole" else rgb_type
    return header("ascii", kind, newline) + (newline.join(lines) + newline).encode()


ALL = {
    "binary": header("binary") + RECORDS.tobytes(),
    "binary, rgb as uint32": header("binary", "U") + RECORDS.tobytes(),
    "binary, CRLF header": header("binary", newline="\r\n") + RECORDS.tobytes(),
    "binary, version .5, no viewpoint": header("binary", VERSION=".5", without=["VIEWPOINT"]) + RECORDS.tobytes(),
    "binary, size from width": header("binary", VERSION="0.6", without=["POINTS"]) + RECORDS.tobytes(),
    "compressed as PCL does": compressed(),
    "compressed with padding": compressed(padding=True),
    "ascii": text(),
    "ascii, commas": text(", "),
    "ascii, CRLF": text(newline="\r\n"),
    "ascii, rgb as uint32": text(rgb_type="U"),
    "ascii, rgb as whole numbers in a float field": text(rgb_type="whole"),
}


@pytest.mark.parametrize("data", ALL.values(), ids=ALL)
def test_every_encoding_gives_the_same_cloud(data):
    cloud = pcd.read(memoryview(data))
    assert cloud.format == "pcd"
    np.testing.assert_array_equal(cloud.xyz, XYZ.astype(np.float64))
    np.testing.assert_array_equal(cloud.rgb, RGB)
    np.testing.assert_array_equal(cloud.intensity, np.arange(60))
    np.testing.assert_array_equal(cloud.normals, np.tile([0, 0, 1], (60, 1)))
    np.testing.assert_array_equal(cloud.extra["ring"], np.arange(60) % 16)
    np.testing.assert_array_equal(cloud.extra["descriptor_2"], RECORDS["descriptor"][:, 2])
    np.testing.assert_array_equal(cloud.extra["stamp"], STAMP)
    assert "_" not in cloud.extra


def small(fields, size, kind, body, **overrides):
    count = overrides.pop("count", None)
    lines = ["VERSION 0.7", f"FIELDS {fields}", f"SIZE {size}", f"TYPE {kind}", *([f"COUNT {count}"] if count else [])]
    values = {"WIDTH": "2", "HEIGHT": "1", "POINTS": "2", "DATA": "binary"} | overrides
    return "\n".join([*lines, *(f"{key} {value}" for key, value in values.items()), ""]).encode() + body


def test_doubles_and_missing_count():
    xyz = np.array([[600_000.123, 6_800_000.456, 1], [600_001, 6_800_002, 2]])
    cloud = pcd.read(memoryview(small("x y z", "8 8 8", "F F F", xyz.tobytes())))
    np.testing.assert_array_equal(cloud.xyz, xyz)


def test_organised_clouds_keep_their_nan_points():
    xyz = XYZ[:6].copy()
    xyz[[1, 4]] = np.nan
    data = small("x y z", "4 4 4", "F F F", xyz.tobytes(), WIDTH="3", HEIGHT="2", POINTS="6")
    cloud = pcd.read(memoryview(data))
    np.testing.assert_array_equal(np.isnan(cloud.xyz[:, 0]), [False, True, False, False, True, False])
    words = "\n".join(" ".join(map(str, row)) for row in xyz.tolist()).encode()
    in_text = small("x y z", "4 4 4", "F F F", words, WIDTH="3", HEIGHT="2", POINTS="6", DATA="ascii")
    np.testing.assert_array_equal(pcd.read(memoryview(in_text)).xyz, cloud.xyz)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (ALL["binary"][:-1], "cut off"),
        (ALL["compressed as PCL does"][:-1], "cut off"),
        (ALL["ascii"][: len(ALL["ascii"]) // 2], "60 points, the file holds 29"),
        (b"\n".join(text().split(b"\n")[:-2]), "60 points, the file holds 59"),
        (header("binary", POINTS="4000000000", WIDTH="4000000000"), "4000000000 points"),
        (header("ascii", POINTS="4000000000") + b"1 2 3\n", "cannot hold"),
        (compressed(WIDTH="61", POINTS="61"), "61 points"),
        (header("binary_compressed") + struct.pack("<II", 20, len(block(False))) + b"\0" * 20, "cannot hold"),
        (header("binary_compressed") + struct.pack("<II", 100, len(block(False))) + b"\xff" * 100, "damaged"),
        (header("something"), "something"),
        (header("binary", WIDTH="many", POINTS="many"), "no points"),
        (header("binary", SIZE="4 4 4"), "3 sizes"),
        (header("binary", SIZE="3 4 4 1 4 4 4 4 4 2 4 8"), "size 3"),
        (header("binary", COUNT="1 1 1 4 1 1 1 1 1 1 0 1"), "count 0"),
        (small("x y z f", "4 4 4 1", "F F F U", bytes(2 << 20), count="1 1 1 1000000"), "values a point"),
        (header("binary", POINTS="-1", WIDTH="-1"), "negative"),
        (header("binary", without=["DATA"]), "DATA"),
        (b"# .PCD\n" * 100_000, "DATA"),
        (
            small("x y z", "4 4 4", "F F F", b"1 2 3\n1 two 3\n", DATA="ascii"),
            "Line 10, column 2: expected a number, found 'two'",
        ),
        (small("x y z", "4 4 4", "F F F", b"1 2 3\n100 200\n", DATA="ascii"), "Line 10 has 2 columns; expected 3"),
        (small("x y z", "4 4 1", "F F U", b"1 2 3\n1 2 900\n", DATA="ascii"), "do not fit"),
        (small("x y w", "4 4 4", "F F F", bytes(24)), "x, y and z"),
    ],
)
def test_broken_files(data, sentence):
    with pytest.raises(BadCloud, match=sentence):
        pcd.read(memoryview(data))


XYZ_FIELDS = ("x y z", "4 4 4", "F F F")


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize(
    ("sizes", "num_points"),
    [
        ({"POINTS": "9"}, 6),  # WIDTH and HEIGHT are right
        ({"WIDTH": "9", "HEIGHT": "9"}, 6),  # POINTS is right
        ({"WIDTH": "many"}, 6),
        ({"POINTS": "some", "WIDTH": "-", "HEIGHT": "?"}, 6),
        ({"POINTS": "8", "WIDTH": "5", "HEIGHT": "1"}, 5),
    ],
)
def test_counts_that_disagree_are_settled_by_the_points_that_are_there(encoding, sizes, num_points):
    if sizes.get("POINTS") == "8" and encoding == "binary_compressed":
        return  # the block says how many there are, and neither count fits
    xyz = XYZ[:6].astype("<f4")
    body = {"ascii": "\n".join(" ".join(map(str, row)) for row in xyz.tolist()).encode(), "binary": xyz.tobytes()}
    plain = xyz.T.tobytes()
    literal = b"".join(bytes([len(plain[at : at + 32]) - 1]) + plain[at : at + 32] for at in range(0, len(plain), 32))
    body["binary_compressed"] = struct.pack("<II", len(literal), len(plain)) + literal
    values = {"WIDTH": "3", "HEIGHT": "2", "POINTS": "6"} | sizes
    data = small(*XYZ_FIELDS, body[encoding], DATA=encoding, **values)
    cloud = pcd.read(memoryview(data))
    assert cloud.xyz.tolist() == xyz[:num_points].tolist()
    assert any(f"{num_points} were read" in warning or "not understood" in warning for warning in cloud.warnings)
    back = formats.write("pcd", cloud, segmentation(num_points), memoryview(data))
    assert pcd.read(memoryview(back)).xyz.tolist() == xyz[:num_points].tolist()


def test_points_beyond_the_stated_ones_are_told():
    xyz = XYZ[:6].astype("<f4")
    assert "48 bytes follow the 2 points" in pcd.read(memoryview(small(*XYZ_FIELDS, xyz.tobytes()))).warnings[0]
    rows = "\n".join(" ".join(map(str, row)) for row in xyz.tolist()).encode()
    assert "2 points, but 6 rows follow" in pcd.read(memoryview(small(*XYZ_FIELDS, rows, DATA="ascii"))).warnings[0]


def test_lines_that_pcl_does_not_know_are_kept():
    data = small(*XYZ_FIELDS, XYZ[:2].astype("<f4").tobytes())
    data = b"# .PCD v0.7\n# units: metre\nSENSOR Puck 16\nLABELS a b\n" + data.replace(b"HEIGHT", b"# between\nHEIGHT")
    data = data.replace(b"DATA", b"VIEWPOINT here\nPOINTS are in metres\nDATA")
    cloud = formats.read(memoryview(data))
    assert cloud.xyz.tolist() == XYZ[:2].astype("<f4").tolist()
    assert cloud.warnings == [
        "Lines of the PCD header that are not understood: 'SENSOR Puck 16', 'LABELS a b', 'VIEWPOINT here', "
        "'POINTS are in metres'."
    ]
    head = (
        formats.write("pcd", cloud, Segmentation(np.array([0, 1], np.int32), SegmentationMeta([])), memoryview(data))
        .partition(b"\nDATA")[0]
        .decode()
        .splitlines()
    )
    assert head[:3] == ["# .PCD v0.7 - Point Cloud Data file format", "# units: metre", "SENSOR Puck 16"]
    assert {"LABELS a b", "# between", "# VIEWPOINT here", "# POINTS are in metres", "VIEWPOINT 0 0 0 1 0 0 0"} <= {
        *head
    }
    assert head.count("POINTS 2") == 1


def test_a_long_remark_before_the_fields():
    data = b"# x\n" * 30_000 + small(*XYZ_FIELDS, XYZ[:2].astype("<f4").tobytes())
    assert len(pcd.read(memoryview(data))) == 2


def test_fields_of_unknown_types_are_left_out_where_the_bytes_confirm_their_size():
    record = np.zeros(2, [("x", "<f4"), ("y", "<f4"), ("odd", "V3"), ("z", "<f4")])
    record["x"], record["z"] = [1, 2], [3, 4]
    record["odd"] = np.array([b"abc", b"def"], "V3")
    data = small("x y odd z", "4 4 3 4", "F F B F", record.tobytes())
    cloud = pcd.read(memoryview(data))
    assert (cloud.xyz.tolist(), cloud.extra) == ([[1, 0, 3], [2, 0, 4]], {})
    assert cloud.warnings == ["PCD fields of types that PCD does not know are not read: odd (type B, size 3, count 1)."]
    back = formats.write("pcd", cloud, Segmentation(np.array([0, 1], np.int32), SegmentationMeta([])), memoryview(data))
    assert b"TYPE F F B F I\n" in back
    assert back.count(b"abc") == back.count(b"def") == 1
    for broken in (data + b"\0", small("x y odd z", "4 4 3 4", "F F B F", b"1 2 a 3\n1 2 b 3\n", DATA="ascii")):
        with pytest.raises(BadCloud, match="types that PCD does not know"):
            pcd.read(memoryview(broken))


def test_a_field_named_twice():
    data = small("x y z x", "4 4 4 4", "F F F F", np.arange(8, dtype="<f4").tobytes())
    cloud = pcd.read(memoryview(data))
    assert (cloud.xyz.tolist(), cloud.extra["x_2"].tolist()) == ([[0, 1, 2], [4, 5, 6]], [3, 7])
    assert cloud.warnings == ["Columns named more than once; the first counts: 'x'."]


@pytest.mark.parametrize("alpha", [0, 255])
@pytest.mark.parametrize("encoding", ["binary", "ascii", "ascii, whole"])
def test_packed_colors_that_are_no_number_invent_no_color(alpha, encoding):
    bits = np.array([0x0A141E, 0x7FC00000 & 0xFFFFFF, 0xC80000], np.uint32) | np.uint32(alpha << 24)
    bits[1] = 0x7FC00000
    rows = [f"{i} 0 0 " for i in range(3)]
    if encoding == "binary":
        record = np.zeros(3, [("xyz", "<f4", 3), ("rgb", "<u4")])
        record["rgb"] = bits
        body = record.tobytes()
    else:
        words = bits.view(np.float32).tolist() if encoding == "ascii" and not alpha else bits.tolist()
        words[1] = "nan"
        body = "\n".join(row + str(word) for row, word in zip(rows, words, strict=True)).encode()
    data = small("x y z rgb", "4 4 4 4", "F F F F", body, WIDTH="3", POINTS="3", DATA=encoding.partition(",")[0])
    cloud = pcd.read(memoryview(data))
    assert cloud.rgb.tolist() == [[10, 20, 30], [0, 0, 0], [200, 0, 0]]
    assert cloud.warnings == ["Points with colors that are not finite: 1; taken as black."]


@pytest.mark.parametrize("word", ["nan", "-nan(ind)", "nan(ind)", "1.#QNAN", "-1.#IND"])
def test_words_for_no_number(word):
    data = small("x y z ring", "4 4 4 2", "F F F U", f"1 2 {word} 7\n4 5 6 {word}\n".encode(), DATA="ascii")
    cloud = pcd.read(memoryview(data))
    assert np.isnan(cloud.xyz).tolist() == [[False, False, True], [False] * 3]
    assert cloud.warnings == ["Missing values: 1 in ring, whose type has none; 0 was read."]


def test_random_damage_ends_as_a_problem():
    rng = np.random.default_rng(1)
    for data in (compressed(), ALL["binary"], ALL["ascii"]):
        for _ in range(100):
            broken = bytearray(data)
            broken[rng.integers(0, len(data))] = rng.integers(256)
            with contextlib.suppress(BadCloud, TooLarge):
                assert len(pcd.read(memoryview(broken), max_points=10_000)) > 0


def test_limit():
    with pytest.raises(TooLarge):
        pcd.read(memoryview(ALL["binary"]), max_points=59)


def segmentation(num_points=60, **options):
    classes = [ClassInfo(i, f"class {i}", (0, 0, 0)) for i in range(5)]
    labels = np.arange(num_points, dtype=np.int32) % 5
    labels[3] = -1
    return Segmentation(labels, SegmentationMeta(classes), options)


@pytest.mark.parametrize("name", ["binary", "compressed as PCL does", "ascii, rgb as uint32"])
def test_all_fields_of_a_source_are_kept(name):
    source = memoryview(ALL[name])
    answer = segmentation(confidence=np.linspace(0, 1, 60, dtype=np.float32))
    out = pcd.write(pcd.read(source), answer, source)
    head, _, body = out.partition(b"DATA binary\n")
    assert b"VIEWPOINT 1 2 3 1 0 0 0\n" in head
    assert b"FIELDS x y z _ rgb normal_x normal_y normal_z intensity ring descriptor stamp label confidence\n" in head
    records = np.frombuffer(body, np.dtype([*RECORD.descr, ("label", "<i4"), ("confidence", "<f4")]))
    for field in RECORD.names:
        np.testing.assert_array_equal(records[field], RECORDS[field], err_msg=field)
    np.testing.assert_array_equal(records["label"], answer.labels)
    np.testing.assert_array_equal(records["confidence"], answer.fields["confidence"])


def test_organised_source_stays_organised():
    source = memoryview(small("x y z", "4 4 4", "F F F", XYZ[:6].tobytes(), WIDTH="3", HEIGHT="2", POINTS="6"))
    out = pcd.write(pcd.read(source), segmentation(6), source)
    assert b"WIDTH 3\nHEIGHT 2\n" in out
    assert b"POINTS 6\n" in out


@pytest.mark.parametrize(("kind", "fields"), [("I", b"FIELDS x y z label\n"), ("U", b"FIELDS x y z label label_2\n")])
def test_an_existing_label_is_overwritten_if_it_can_hold_the_values(kind, fields):
    body = b"".join(np.float32(row).tobytes() + b"\x07\x00" for row in XYZ[:6])
    data = small("x y z label", "4 4 4 2", f"F F F {kind}", body, WIDTH="6", POINTS="6")
    source = memoryview(data)
    answer = segmentation(6)
    out = pcd.write(pcd.read(source), answer, source)
    assert fields in out
    back = pcd.read(memoryview(out)).extra
    np.testing.assert_array_equal(back["label" if kind == "I" else "label_2"], answer.labels)


@pytest.mark.parametrize(("shift", "size"), [(0, b"4 4 4"), (600_000.0, b"8 8 8")])
def test_a_cloud_of_another_format(shift, size):
    xyz = XYZ.astype(np.float64) + shift
    xyz[7] = np.nan
    normals = np.tile(np.float32([0, 1, 0]), (60, 1))
    cloud = Cloud(xyz, "las", rgb=RGB, intensity=np.arange(60, dtype=np.float32), normals=normals)
    out = pcd.write(cloud, segmentation(), None)
    assert b"SIZE " + size in out
    back = pcd.read(memoryview(out))
    np.testing.assert_allclose(back.xyz, xyz, atol=1e-4)
    np.testing.assert_array_equal(back.rgb, RGB)
    np.testing.assert_array_equal(back.normals, normals)
    np.testing.assert_array_equal(back.intensity, cloud.intensity)
    np.testing.assert_array_equal(back.extra["label"], segmentation().labels)


def test_a_label_for_every_point_is_demanded():
    with pytest.raises(ValueError, match="60 points"):
        pcd.write(pcd.read(memoryview(ALL["binary"])), segmentation(59), memoryview(ALL["binary"]))


def test_packed_color_in_text_by_a_name_in_capitals():
    data = b"VERSION 0.7\nFIELDS x y z RGB\nSIZE 4 4 4 4\nTYPE F F F F\nWIDTH 1\nPOINTS 1\nDATA ascii\n1 2 3 16711935\n"
    np.testing.assert_array_equal(pcd.read(memoryview(data)).rgb, [[255, 0, 255]])
