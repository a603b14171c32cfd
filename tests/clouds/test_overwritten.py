import io

import laspy
import numpy as np
import pytest

from app.clouds import asprs, catalog, formats
from app.clouds.asprs import name_of
from app.clouds.cloud import ClassInfo, Cloud, RefinedStep, Segmentation, SegmentationMeta
from tests.clouds.las_samples import las_data, to_bytes

AERIAL = [ClassInfo(i, n, (0, 0, 0), code) for i, (n, code) in enumerate([("ground", 2), ("trees", 5), ("roof", 6)])]
INDOOR = [ClassInfo(i, f"class {i}", (0, 0, 0)) for i in range(3)]
CODES = np.array([0] * 5 + [1] * 5 + [2] * 10 + [6] * 3 + [9] * 4 + [26] * 2000 + [64], np.uint8)
TOLD = "2,000 points of class 26 (reserved), 4 points of class 9 (water), 1 point of class 64 (user-defined)"


def las_file(point_format=6, codes=CODES):
    las = las_data(point_format, num_points=len(codes))
    las.classification = codes
    return memoryview(to_bytes(las))


def warnings_of(output, data, classes=AERIAL):
    cloud = formats.read(data)
    answer = Segmentation(np.zeros(len(cloud), np.int32), SegmentationMeta(classes))
    written = formats.write(output, cloud, answer, data)
    return [said for said in answer.meta.warnings if "gives no such class" in said], written


@pytest.mark.parametrize("output", ["las", "laz"])
def test_codes_are_counted_where_las_loses_them(output):
    warnings, written = warnings_of(output, las_file())
    assert warnings == [f"{TOLD} were overwritten: the model gives no such class."]
    assert set(np.asarray(laspy.read(io.BytesIO(written)).classification)) == {2}


@pytest.mark.parametrize("output", ["json", "npz", "csv", "view"])
def test_codes_are_counted_in_other_answers(output):
    loses = "were overwritten" if output == "csv" else "got another"
    assert warnings_of(output, las_file())[0] == [f"{TOLD} {loses}: the model gives no such class."]


def test_nothing_is_told_where_nothing_is_lost():
    assert warnings_of("las", las_file(codes=np.resize(np.uint8([0, 1, 2, 5, 6]), 50)))[0] == []
    for output in ("ply", "pcd"):  # keep every column
        warnings, written = warnings_of(output, las_file())
        assert warnings == []
        np.testing.assert_array_equal(formats.read(memoryview(written)).extra["classification"], CODES)


def test_flags_of_old_formats_are_no_part_of_the_code():
    las = las_data(1, num_points=50)
    las.classification = np.resize(np.uint8([2, 9]), 50)
    las.withheld = las.key_point = las.synthetic = np.ones(50, np.uint8)
    warnings, _ = warnings_of("las", memoryview(to_bytes(las)))
    assert warnings == ["25 points of class 9 (water) were overwritten: the model gives no such class."]


def test_ids_in_the_place_of_codes_overwrite_all_of_them():
    assert "10 points of class 2 (ground)" in warnings_of("las", las_file(), INDOOR)[0][0]
    assert warnings_of("json", las_file(), INDOOR)[0] == []


def test_a_classification_that_stays_is_not_told_of():
    with_gap = [*AERIAL, ClassInfo(3, "unknown to LAS", (0, 0, 0))]
    assert warnings_of("las", las_file(), with_gap)[0] == []


def test_many_codes_are_summed_up():
    warning = warnings_of("las", las_file(codes=np.arange(256, dtype=np.uint8)))[0][0]
    assert len(warning) < 500
    assert "243 points of 243 others" in warning


@pytest.mark.parametrize(
    ("output", "format", "expected"),
    [
        ("pcd", "pcd", "4 points of label 7 were overwritten: the model gives no such class."),
        ("csv", "text", "4 points of label 7 were overwritten: the model gives no such class."),
        ("json", "pcd", "4 points of label 7 got another: the model gives no such class."),
        ("ply", "ply", None),
    ],
)
def test_labels_of_other_files(output, format, expected):
    labels = np.array([-1, 0, 1, 2, 7, 7, 7, 7], np.int32)
    cloud = Cloud(np.arange(24.0).reshape(8, 3), format, extra={"label": labels})
    known = Segmentation(labels, SegmentationMeta([*INDOOR, ClassInfo(7, "seven", (0, 0, 0))]))
    source = formats.write(output, cloud, known) if format == output else None
    answer = Segmentation(np.zeros(8, np.int32), SegmentationMeta(INDOOR))
    formats.write(output, cloud, answer, None if source is None else memoryview(source))
    assert [said for said in answer.meta.warnings if "no such class" in said] == ([expected] if expected else [])


def test_a_classification_in_a_table_that_becomes_las():
    rows = "x,y,z,class\n" + "".join(f"{i},{i},0,{code}\n" for i, code in enumerate([2, 9, 9, 26]))
    data = memoryview(rows.encode())
    expected = "2 points of class 9 (water), 1 point of class 26 (reserved) were overwritten"
    assert expected in warnings_of("las", data)[0][0]
    assert expected in warnings_of("csv", data)[0][0]


@pytest.mark.parametrize("output", catalog.WRITERS)
def test_a_loss_is_told_once(output):
    warnings, _ = warnings_of(output, memoryview(b"x,y,z,class\n1,2,3,9\n2,2,3,9\n3,2,3,2\n"))
    assert len(warnings) == (0 if output in ("ply", "pcd") else 1)


def test_names_of_codes():
    assert [name_of(code) for code in (2, 9, 26, 63, 64, 255)] == [
        "ground",
        "water",
        "reserved",
        "reserved",
        "user-defined",
        "user-defined",
    ]


@pytest.mark.parametrize("output", ["las", "laz", "json", "npz", "csv", "view"])
def test_codes_that_steps_give_and_points_that_keep_theirs_are_no_loss(output):
    data = las_file(codes=np.array([3] * 4 + [4] * 5 + [9] * 6 + [64] * 7 + [7] * 8, np.uint8))
    cloud = formats.read(data)
    labels = np.zeros(len(cloud), np.int32)
    labels[9:12], labels[15:22] = 1009, 1064
    meta = SegmentationMeta([*AERIAL, *(asprs.class_of(code) for code in (3, 4, 9, 64))], num_added=4)
    meta.given_codes, meta.refined = [2, 3, 4, 5, 6], [RefinedStep("vegetation", 0), RefinedStep("kept", 10)]
    formats.write(output, cloud, Segmentation(labels, meta), data)
    (warning,) = (said for said in meta.warnings if "gives no such class" in said)
    assert warning.startswith("8 points of class 7 (low noise), 3 points of class 9 (water) ")


@pytest.mark.parametrize("output", ["las", "json"])
def test_a_class_that_is_kept_gives_a_model_without_codes_none(output):
    data = las_file(codes=np.array([64] * 5 + [9] * 5, np.uint8))
    cloud = formats.read(data)
    meta = SegmentationMeta([*INDOOR, asprs.class_of(64)], num_added=1, refined=[RefinedStep("kept", 5)])
    formats.write(output, cloud, Segmentation(np.repeat(np.int32([1064, 0]), 5), meta), data)
    assert not [said for said in meta.warnings if "gives no such class" in said]
