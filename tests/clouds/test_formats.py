import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from app.clouds import catalog, formats
from app.clouds.checks import MAX_WARNINGS, WARNING_CHARS, bounded, check_cloud
from app.clouds.cloud import Cloud, InstanceInfo, Segmentation
from app.clouds.sniff import find_format
from app.clouds.units import METRE, Units, length
from app.errors import BadCloud, UnsupportedFormat
from tests.clouds.cloud_samples import RGB, XYZ, cloud, npy, segmentation, zipped
from tests.clouds.las_samples import las_data, to_bytes

PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
    b"end_header\n1 2 3\n"
)
PCD = b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\n"
CONTENT = {
    "ply": PLY,
    "pcd": PCD,
    "npy": npy(XYZ),
    "npz": zipped({"coord.npy": npy(XYZ)}),
    "text": b"1 2 3\n",
    "json": b' {"points": [[1, 2, 3]]}',
    "las": b"LASF" + bytes(300),
    "laz": b"LASF" + bytes(100) + b"\x80" + bytes(200),
    "e57": b"ASTM-E57" + bytes(100),
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("filename", ["", "a.xyz", "a.bin", "a.laz", "no suffix", "a.dat"])
def test_content_tells_the_format_whatever_the_name(name, filename):
    without_mark = {"text": ("a.bin", "a.laz"), "json": ("a.xyz", "a.bin", "a.laz")}
    if filename in without_mark.get(name, ()):
        with pytest.raises(UnsupportedFormat, match=f"called '{filename}', but holds .* say format={name}"):
            find_format(memoryview(CONTENT[name]), filename)
        assert find_format(memoryview(CONTENT[name]), filename, format=name) == name
    else:
        assert find_format(memoryview(CONTENT[name]), filename) == name


@pytest.mark.parametrize("name", CONTENT)
def test_format_option_that_contradicts_the_content(name):
    other = "ply" if name != "ply" else "kitti"
    with pytest.raises(UnsupportedFormat, match=f"format={other} was given, but the content is {name}"):
        find_format(memoryview(CONTENT[name]), format=other)


@pytest.mark.parametrize(
    ("format", "name"), [("LAZ", "las"), ("las", "las"), ("xyz", "text"), (".CSV", "text"), ("zip", "npz")]
)
def test_format_option_by_name_or_extension(format, name):
    assert find_format(memoryview(CONTENT[name]), format=format) == name


def torch_file(**options):
    out = io.BytesIO()
    torch.save({f"weight{i}": torch.zeros(3) for i in range(3000)}, out, **options)
    return out.getvalue()


BINARY = np.linspace(-9, 9, 60, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("filename", "name"),
    [("a.bin", "bin"), ("A.PCD.BIN", "nuscenes"), ("dir.ply/a.b.las", "las"), ("a.ply", "ply"), ("x.copc.laz", "laz")],
)
def test_name_tells_where_the_content_does_not(filename, name):
    assert find_format(memoryview(BINARY), filename) == name


@pytest.mark.parametrize("filename", ["", "a.dat", "ply", "a.gz"])
def test_unknown_lists_what_is_read(filename):
    with pytest.raises(UnsupportedFormat, match=r"las, laz, ply.*format=kitti") as raised:
        formats.read(memoryview(BINARY), filename=filename)
    assert ("the name" in raised.value.detail) == bool(filename)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", BadCloud, "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", BadCloud, "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", UnsupportedFormat, "HTML"),
        (b"\n<?xml version='1.0'?><a/>", UnsupportedFormat, "XML"),
        (b"\x1f\x8b\x08\x00aaaa", UnsupportedFormat, "gzip data, not a point cloud. Unpack"),
        (b"7z\xbc\xaf\x27\x1caaaa", UnsupportedFormat, "7z"),
        (b"Rar!\x1a\x07aaaa", UnsupportedFormat, "RAR"),
        (b"\x89PNG\r\n\x1a\n", UnsupportedFormat, "PNG"),
        (b"\xff\xd8\xff\xe0aa", UnsupportedFormat, "JPEG"),
        (b"\x80\x04\x95aaaa", BadCloud, "The pickle is damaged"),
        (
            b"v 1 2 3\nv 1 2 3\nf 1 2 3\n",
            UnsupportedFormat,
            "a Wavefront OBJ model, not a point cloud. Open it in Cloud",
        ),
        (b"# made by hand\n\nmtllib a.mtl\no thing\nvn 0 0 1\nv 1 2 3\n", UnsupportedFormat, "OBJ"),
        (b"solid a\n facet normal 0 0 1\n", UnsupportedFormat, "STL"),
        (b"0\r\nSECTION\r\n2\r\nHEADER\r\n", UnsupportedFormat, "DXF"),
        (b"ncols 3\nnrows 2\nxllcorner 0\n1 2 3\n4 5 6\n", UnsupportedFormat, "Esri ASCII grid"),
        (b"<gpx version='1.1'><trk/></gpx>", UnsupportedFormat, "GPX"),
        (b"\0\0\x27\x0a" + bytes(96), UnsupportedFormat, "shapefile"),
        (b"glTF\2\0\0\0" + bytes(20), UnsupportedFormat, "glTF"),
        (b"#ROSBAG V2.0\n", UnsupportedFormat, "ROS bag"),
        (b"SQLite format 3\0", UnsupportedFormat, "SQLite"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), UnsupportedFormat, "network packets"),
        (
            zipped({"[Content_Types].xml": b"<a/>", "xl/workbook.xml": b"<a/>"}),
            UnsupportedFormat,
            "Save the sheet as CSV",
        ),
        (b"# A cloud\n\n| name | points |\n", UnsupportedFormat, "text, but no line near its start begins with three"),
        (torch_file(), UnsupportedFormat, "checkpoint, the weights of a network"),
        (torch_file(_use_new_zipfile_serialization=False), UnsupportedFormat, "checkpoint, the weights of a network"),
        (BINARY, UnsupportedFormat, "format=kitti"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"filename": "a.las.gz"}])
def test_what_is_no_cloud_is_named(data, error, message, options):
    with pytest.raises(error) as raised:
        formats.read(memoryview(data), **options)
    assert message in raised.value.detail


@pytest.mark.parametrize(
    ("filename", "advice"),
    [("a.fls", "FARO SCENE"), ("B.RCP", "ReCap"), ("c.zfs", "LaserControl"), ("d.pod", "Pointools"), ("e.shp", "QGIS")],
)
def test_formats_of_makers_are_named_by_their_extension(filename, advice):
    with pytest.raises(UnsupportedFormat, match=advice):
        formats.read(memoryview(BINARY), filename=filename)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("name", ["text", "json", "ply"])
def test_text_in_other_encodings(encoding, name):
    data = memoryview(CONTENT[name].decode().encode(encoding))
    found = formats.read(data)
    assert (found.format, found.xyz.tolist()) == (name, [[1, 2, 3]])
    if name == "ply":
        assert b"property int label" in formats.write("ply", found, segmentation(1), data)


def test_unknown_names():
    with pytest.raises(UnsupportedFormat, match="'shp'"):
        formats.read(memoryview(PLY), format="shp")
    with pytest.raises(UnsupportedFormat, match="'shp'"):
        formats.write("shp", cloud(), segmentation())


class Panic(BaseException):
    pass


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (Panic("index out of range"), BadCloud, "cannot be read as ply: it is damaged"),
        (RecursionError(), BadCloud, "cannot be read as ply: it is damaged"),
        (MemoryError(), BadCloud, "memory"),
        (ImportError("No module named 'x'"), UnsupportedFormat, "not installed"),
        (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
        (SystemExit("stop"), SystemExit, "stop"),
    ],
)
def test_whatever_a_decoder_raises(monkeypatch, raised, expected, message):
    def decode(data, columns, max_points):
        raise raised

    monkeypatch.setattr("app.clouds.ply.read", decode)
    with pytest.raises(expected, match=message):
        formats.read(memoryview(PLY))


def test_columns_of_a_format_that_names_its_own():
    with pytest.raises(Exception, match="does not apply to ply"):
        formats.read(memoryview(PLY), columns=("x", "y", "z"))


@pytest.mark.parametrize(
    "broken",
    [
        Cloud(XYZ.astype(np.float32), "ply"),
        Cloud(XYZ[:, :2], "ply"),
        Cloud(np.asfortranarray(XYZ), "ply"),
        Cloud(XYZ.astype(">f8"), "ply"),
        Cloud(XYZ, "ply", rgb=RGB[:2]),
        Cloud(XYZ, "ply", intensity=np.zeros((3, 1), np.float32)),
        Cloud(XYZ, "ply", extra={"a": np.array(["a", "b", "c"])}),
        Cloud(XYZ, "ply", extra={"a": np.zeros(6)[::2]}),
    ],
)
def test_a_reader_that_breaks_its_promise_is_found(broken):
    with pytest.raises(TypeError, match="Cloud"):
        check_cloud(broken)


def test_media_types_and_extensions():
    assert catalog.WRITERS["json"].media_type == "application/json"
    suffixes = {name: catalog.FORMATS[name].suffix for name in catalog.WRITERS}
    assert suffixes == {name: f".{name}" for name in catalog.WRITERS} | {"copc": ".copc.laz"}
    assert len({writer.media_type for writer in catalog.WRITERS.values()}) == len(catalog.WRITERS)


@pytest.mark.parametrize(
    ("name", "format", "stem"),
    [
        ("a.laz", "laz", "a"),
        ("sub.las/A.B.LAZ", "laz", "sub.las/A.B"),
        ("a.copc.laz", "copc", "a"),
        ("A.COPC.LAZ", "copc", "A"),
        ("copc.laz", "laz", "copc"),
        ("a.pcd.bin", None, "a.pcd"),
        (".laz", None, ".laz"),
        ("a", None, "a"),
    ],
)
def test_what_a_file_is_written_as_by_its_name(name, format, stem):
    assert catalog.written_as(name) == format
    assert catalog.stem(name) == stem


def test_which_source_is_kept():
    assert catalog.keeps_source("las", "laz")
    assert catalog.keeps_source("ply", "ply")
    assert not catalog.keeps_source("ply", "las")
    assert not catalog.keeps_source("npz", "npz")
    assert not catalog.keeps_source("las", "made up")


def test_table_names_every_format():
    rows = catalog.table().splitlines()[2:]
    assert {row.split("|")[1].strip() for row in rows} == {*catalog.READERS, *catalog.WRITERS}
    assert all(row.count("|") == 5 for row in rows)


def test_every_function_named_is_there():
    catalog.load_all()
    for reader in catalog.READERS.values():
        for name in filter(None, (reader.read, reader.needs, reader.looks)):
            assert callable(catalog.function(reader, name))
    for writer in catalog.WRITERS.values():
        for name in (writer.write, writer.needs):
            assert callable(catalog.function(writer, name))


def answer(given: Cloud, segmentation: Segmentation) -> dict:
    return json.loads(formats.write("json", given, segmentation), parse_constant=pytest.fail)


def test_json_answer():
    given = cloud(warnings=["a", "b"])
    units = Units(length(0.3048), length(0.3048), METRE, "NAD83(HARN) / Oregon GIC Lambert (ft)")
    timings_ms = {"decode": 1.23456, "network": np.float32(2)}
    body = answer(given, segmentation(warnings=["b", "c"], timings_ms=timings_ms, units=units))
    assert body == {
        "model": "m",
        "num_points": 3,
        "classes": [
            {"id": 0, "name": "ground", "color": [120, 90, 60], "asprs": 2, "count": 1},
            {"id": 1, "name": "big, red building", "color": [200, 0, 0], "asprs": 6, "count": 1},
        ],
        "ignore_label": -1,
        "num_ignored": 1,
        "labels": [0, 1, -1],
        "warnings": ["a", "b", "c"],
        "passes": 1,
        "passes_wanted": 1,
        "units": {
            "x": {"name": "foot", "metres": 0.3048, "source": "file"},
            "y": {"name": "foot", "metres": 0.3048, "source": "file"},
            "z": {"name": "metre", "metres": 1.0, "source": "assumed"},
        },
        "crs": "NAD83(HARN) / Oregon GIC Lambert (ft)",
        "timings_ms": {"decode": 1.235, "network": 2.0},
        "request_id": "r",
    }


def test_json_answer_on_request_without_nan():
    probabilities = np.asfortranarray(np.array([[1, 0], [0.5, 0.5], [0, 0]], np.float32))
    entropy = np.array([0, np.nan, np.inf], np.float32)
    confidence = np.array([1, 0.5, 0], np.float32)
    body = answer(cloud(), segmentation(confidence=confidence, probabilities=probabilities, entropy=entropy))
    assert body["confidence"] == [1, 0.5, 0]
    assert body["probabilities"] == [[1, 0], [0.5, 0.5], [0, 0]]
    assert body["entropy"] == [0, None, None]


def test_csv_answer():
    confidence = np.array([0.987654321, 0.5, 0], np.float32)
    probabilities = np.array([[1, 0], [0.5, 0.5], [0, 0]], np.float32)
    out = formats.write("csv", cloud(), segmentation(confidence=confidence, probabilities=probabilities)).decode()
    assert out.splitlines() == [
        'x,y,z,label,class,confidence,p_ground,"p_big, red building"',
        "500000.125,6600000.25,12.5,0,ground,0.98765,1.0,0.0",
        '500001.5,6600001.5,-3.0,1,"big, red building",0.5,0.5,0.5',
        "500002.0,6600002.0,0.0,-1,,0.0,0.0,0.0",
    ]


@pytest.mark.parametrize("name", ["x", "class", "confidence"])
def test_labels_in_csv_have_a_name_of_their_own(name):
    out = formats.write("csv", cloud(), segmentation(confidence=np.ones(3, np.float32), label_column=name)).decode()
    assert out.splitlines()[0] == f"x,y,z,{name}_2,class,confidence"


def test_csv_answer_can_be_read_again():
    given = Cloud(np.array([[0.1, np.nan, 3], [1e-7, 5, 6e12]]), "text")
    back = formats.read(memoryview(formats.write("csv", given, segmentation(2))))
    np.testing.assert_array_equal(back.xyz, given.xyz)
    assert back.extra["label"].tolist() == [0, 1]


def test_csv_answer_in_parts():
    num_points = 250_001
    given = Cloud(np.arange(3.0 * num_points).reshape(-1, 3), "text")
    lines = formats.write("csv", given, segmentation(num_points)).decode().splitlines()
    assert len(lines) == num_points + 1
    assert lines[-1].startswith("750000.0,750001.0,750002.0,1,")


@pytest.mark.parametrize("data", [b" #\n" * 60 + b"x", b"1" * 60_000 + b"x 2 3\n"])
def test_text_made_to_keep_the_sniffer_busy_does_not(data):
    code = "import sys; from app.clouds.sniff import sniff; print(sniff(memoryview(sys.stdin.buffer.read())))"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=30, check=True)
    assert done.stdout.strip() == b"None"


@pytest.mark.parametrize("name", ["las", "laz", "ply", "pcd", "npy"])
def test_writers_say_what_they_have_no_place_for(name):
    answer = segmentation(probabilities=np.zeros((3, 2), np.float32))
    formats.write(name, cloud(), answer)
    assert any(
        "no probabilities" in warning or "no place for probabilities" in warning for warning in answer.meta.warnings
    )


def with_instances(num_points: int = 3):
    infos = [InstanceInfo(0, 1, 0.5, 1), InstanceInfo(1, 0, 0.875, 1)]
    instances = np.resize(np.array([1, 0, -1], np.int32), num_points)
    out = segmentation(num_points, instances=instances)
    out.meta.instances = infos
    return out


def test_json_and_npz_hold_instances_and_what_each_is():
    body = answer(cloud(), with_instances())
    assert body["instance_ids"] == [1, 0, -1]
    assert body["instances"] == [
        {"id": 0, "label": 1, "score": 0.5, "count": 1},
        {"id": 1, "label": 0, "score": 0.875, "count": 1},
    ]
    arrays = np.load(io.BytesIO(formats.write("npz", cloud(), with_instances())))
    assert arrays["instance"].tolist() == [1, 0, -1]
    assert arrays["instance_labels"].tolist() == [1, 0]
    assert arrays["instance_scores"].tolist() == [0.5, 0.875]
    assert "instances" not in answer(cloud(), segmentation())


@pytest.mark.parametrize("name", ["las", "laz", "ply", "pcd", "csv", "npz"])
def test_instances_of_points_can_be_read_again(name):
    data = memoryview(formats.write(name, cloud(), with_instances()))
    assert formats.read(data).extra["instance"].tolist() == [1, 0, -1]
    if name not in ("csv", "npz"):  # into a file that has instances already
        given = formats.read(data)
        again = formats.read(memoryview(formats.write(name, given, with_instances(), data)))
        assert [1, 0, -1] in [values.tolist() for values in again.extra.values()]


def test_csv_with_instances():
    out = with_instances()
    out.fields["confidence"] = np.array([1, 0.5, 0], np.float32)
    lines = formats.write("csv", cloud(), out).decode().splitlines()
    assert lines[0] == "x,y,z,label,class,instance,confidence"
    assert lines[1] == "500000.125,6600000.25,12.5,0,ground,1,1.0"
    assert lines[3] == "500002.0,6600002.0,0.0,-1,,-1,0.0"


def test_npy_says_that_it_has_no_place_for_instances():
    given = with_instances()
    formats.write("npy", cloud(), given)
    assert any("NPY gets no instances" in warning for warning in given.meta.warnings)


def test_safetensors_are_the_same_every_time_and_read_by_the_library():
    from safetensors.numpy import load

    answer = segmentation(4)
    answer.fields["features_rgb"] = np.arange(12, dtype=np.uint8).reshape(4, 3)
    answer.fields["probabilities"] = np.zeros((4, 0), np.float32)
    first = formats.write("safetensors", cloud(), answer)
    assert all(formats.write("safetensors", cloud(), answer) == first for _ in range(5))
    arrays = load(first)
    np.testing.assert_array_equal(arrays["labels"], answer.labels)
    np.testing.assert_array_equal(arrays["features_rgb"], answer.fields["features_rgb"])
    assert arrays["probabilities"].shape == (4, 0)
    length = int.from_bytes(first[:8], "little")
    assert length % 8 == 0
    assert set(json.loads(first[8 : 8 + length])["__metadata__"]) >= {"model", "ignore_label", "classes", "warnings"}


def test_warnings_are_few_and_short():
    xyz = np.zeros((1, 3))
    warned = bounded([f"{number} {'w' * 10_000}" for number in range(100)] * 2)
    assert len(warned) == MAX_WARNINGS
    assert {len(warning) for warning in warned[:-1]} == {WARNING_CHARS}
    assert warned[-1] == "69 more warnings are left out."
    assert check_cloud(Cloud(xyz, "text", warnings=bounded(["a", "a"]))).warnings == ["a"]


@pytest.mark.parametrize("output", catalog.WRITERS)
@pytest.mark.parametrize("keeps_source", [True, False])
def test_nothing_of_the_context_is_written_or_counted(output, keeps_source):
    rng = np.random.default_rng(0)
    file = memoryview(to_bytes(las_data(num_points=40), compressed=True))
    plain = formats.read(file)
    plain.rgb = rng.integers(0, 256, (40, 3), np.uint8)
    joined = Cloud(
        np.concatenate([plain.xyz, plain.xyz[:7] + 1e6]),
        plain.format,
        rgb=np.concatenate([plain.rgb, plain.rgb[:7]]),
        intensity=np.concatenate([plain.intensity, plain.intensity[:7]]),
        extra={name: np.concatenate([values, values[:7]]) for name, values in plain.extra.items()},
        intensity_scale=plain.intensity_scale,
        warnings=plain.warnings,
        columns=plain.columns,
        units=plain.units,
        num_context=7,
    )
    source = file if keeps_source and catalog.keeps_source(output, plain.format) else None
    written, expected = (formats.write(output, each, segmentation(40), source) for each in (joined, plain))
    assert written == expected
    needs = [formats.writing_needs(output, each, segmentation(40), source) for each in (joined, plain)]
    assert needs[0] == needs[1]


@pytest.mark.parametrize("output", sorted(catalog.WRITERS))
def test_a_name_for_labels_is_theirs_or_said_to_change_nothing(output):
    answer = segmentation(label_column="mine")
    data = formats.write(output, cloud(), answer)
    is_told = f"classification_to changes nothing in {output}, whose labels have a place of their own."
    writer = catalog.WRITERS[output]
    assert (is_told in answer.meta.warnings) is not (writer.keeps_columns or writer.names_labels)
    if output in ("las", "ply", "pcd", "csv"):
        assert b"mine" in data
