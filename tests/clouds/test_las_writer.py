import io
import struct

import laspy
import numpy as np
import pytest

from app.clouds import las
from app.clouds.cloud import ClassInfo, Cloud, RefinedStep
from app.errors import UnsupportedFormat
from tests.clouds.las_samples import ASPRS, INDOOR, las_bytes, las_data, patched, segmentation, to_bytes, undeclared

WRITERS = {False: las.write_las, True: las.write_laz}


def write(data, answer, compressed=False):
    """The source classified; back as laspy sees it, and as bytes."""
    view = memoryview(data)
    out = WRITERS[compressed](las.read(view), answer, view)
    return laspy.read(io.BytesIO(out)), out


def assert_kept(before, after, but=()):
    for name in before.point_format.dimension_names:
        if name not in but:
            np.testing.assert_array_equal(np.asarray(before[name]), np.asarray(after[name]), err_msg=name)


@pytest.mark.parametrize("to_laz", [False, True])
@pytest.mark.parametrize("from_laz", [False, True])
@pytest.mark.parametrize("point_format", range(11))
def test_everything_but_the_class_is_kept(point_format, from_laz, to_laz):
    before = las_data(point_format, extra=[("amplitude", "uint16")])
    data = to_bytes(before, from_laz)
    before = laspy.read(io.BytesIO(data))
    after, out = write(data, segmentation(500, ignored=[0, 7]), to_laz)

    expected = np.array([2, 6, 9])[np.arange(500) % 3]
    expected[[0, 7]] = 1
    np.testing.assert_array_equal(after.classification, expected)
    assert_kept(before, after, but=["classification"])
    assert after.header.point_format.id == point_format
    kept_head = np.r_[0:96, 107:227]  # all but offset to the points, number of VLRs, format bit, record length
    assert np.array_equal(np.frombuffer(out, np.uint8)[kept_head], np.frombuffer(data, np.uint8)[kept_head])
    assert [vlr.record_data_bytes() for vlr in after.vlrs if vlr.user_id != "laszip encoded"] == [
        vlr.record_data_bytes() for vlr in before.vlrs
    ]
    assert after.header.are_points_compressed == to_laz


def test_same_kind_and_no_added_dimension_gives_the_same_bytes():
    before = las_data(6)
    before.classification = np.full(500, 2, np.uint8)
    data = to_bytes(before)
    answer = segmentation(500)
    answer.labels[:] = 0
    assert write(data, answer)[1] == data


@pytest.mark.parametrize("compressed", [False, True])
def test_confidence_and_entropy_become_extra_dimensions(compressed):
    rng = np.random.default_rng(1)
    confidence, entropy = rng.random(500).astype(np.float32), rng.random(500).astype(np.float32) * 3
    before = las_data(3, extra=[("amplitude", "uint16")])
    answer = segmentation(500, confidence=confidence, entropy=entropy)
    after, _ = write(to_bytes(before, compressed), answer, compressed)
    np.testing.assert_allclose(after["confidence"], confidence, atol=6e-5)
    np.testing.assert_allclose(after["entropy"], entropy, atol=6e-5)
    assert_kept(before, after, but=["classification"])


@pytest.mark.parametrize("compressed", [False, True])
def test_undeclared_extra_bytes_are_kept(compressed):
    before = las_data(3, extra=[("amplitude", "uint16"), ("pair", "2u1")])
    data = undeclared(to_bytes(before, compressed))
    bare, _ = write(data, segmentation(500), compressed)
    grown, _ = write(data, segmentation(500, confidence=np.ones(500, np.float32)), compressed)
    original = laspy.read(io.BytesIO(data))
    for after in (bare, grown):
        np.testing.assert_array_equal(after["ExtraBytes"], original["ExtraBytes"])
    np.testing.assert_allclose(grown["confidence"], 1)


def test_classes_without_asprs_codes_go_to_the_classification_by_id():
    answer = segmentation(500, INDOOR)
    after, _ = write(las_bytes(point_format=3), answer)
    np.testing.assert_array_equal(after.classification, np.arange(500) % 20)
    assert "ASPRS" in answer.meta.warnings[0]


@pytest.mark.parametrize("case", ["ignored", "many classes", "high code"])
def test_classes_that_do_not_fit_go_to_a_dimension_of_their_own(case):
    classes = {"ignored": INDOOR, "many classes": INDOOR * 2, "high code": ASPRS[:2]}[case]
    if case == "many classes":
        classes = [type(info)(i, info.name, info.color) for i, info in enumerate(classes)]
    if case == "high code":
        classes = [*classes, type(classes[0])(2, "a user's class", (0, 0, 0), 64)]
    before = las_data(3)
    answer = segmentation(500, classes, ignored=[3] if case == "ignored" else [])
    after, _ = write(to_bytes(before), answer)
    np.testing.assert_array_equal(after["label"], answer.labels)
    assert after["label"].dtype == np.int16
    assert_kept(before, after)
    assert "label" in answer.meta.warnings[0]


def test_ids_have_one_place_whether_or_not_points_are_in_doubt_if_they_may_be():
    data = las_bytes(point_format=6)
    for ignored in ([], [3]):
        answer = segmentation(500, INDOOR, ignored=ignored, refined=[RefinedStep("unclassified", len(ignored))])
        np.testing.assert_array_equal(write(data, answer)[0].label, answer.labels)
    answer = segmentation(500, INDOOR, refined=[RefinedStep("smooth", 4)])
    np.testing.assert_array_equal(write(data, answer)[0].classification, answer.labels)


def test_label_is_int32_where_ids_need_it():
    answer = segmentation(500, INDOOR)
    answer.labels[5] = 70_000
    assert write(las_bytes(), answer)[0]["label"].dtype == np.int32


def test_existing_dimensions_are_overwritten_where_their_type_holds_the_values():
    confidence = np.linspace(0, 1, 500, dtype=np.float32)
    before = las_data(3, extra=[("label", "uint8"), ("confidence", "float32")])
    fits = segmentation(500, [*INDOOR, type(INDOOR[0])(40, "beyond 31", (0, 0, 0))], confidence=confidence)
    after, _ = write(to_bytes(before), fits)
    assert list(after.point_format.extra_dimension_names) == ["label", "confidence"]
    np.testing.assert_array_equal(after["label"], fits.labels)
    np.testing.assert_array_equal(after["confidence"], confidence)
    assert [said for said in fits.meta.warnings if "overwritten" in said] == [
        f"The file's own dimension {name} was overwritten." for name in ("label", "confidence")
    ]

    does_not = segmentation(500, INDOOR, ignored=[3])
    after, _ = write(to_bytes(before), does_not)
    np.testing.assert_array_equal(after["label"], before["label"])
    np.testing.assert_array_equal(after["label_2"], does_not.labels)


@pytest.mark.parametrize("compressed", [False, True])
def test_evlrs_follow_the_points(compressed):
    before = las_data(6)
    wanted = [laspy.VLR("someone", 9, "one", b"x" * 100), laspy.VLR("else", 2, "two", b"")]
    before.evlrs = laspy.vlrs.vlrlist.VLRList(wanted)
    after, _ = write(to_bytes(before, True), segmentation(500, confidence=np.ones(500, np.float32)), compressed)
    assert list(after.evlrs) == wanted


def test_waveform_packets_of_las_1_3_follow_the_points():
    packets = bytes(2) + b"LASF_Spec".ljust(16, b"\0") + struct.pack("<HQ32s", 65535, 50, b"packets") + bytes(range(50))
    data = las_bytes(point_format=4)
    data = bytes(patched(data, 6, b"\x02"))
    data = bytes(patched(data, 227, struct.pack("<Q", len(data)))) + packets
    for compressed in (False, True):
        _, out = write(data, segmentation(500, confidence=np.ones(500, np.float32)), compressed)
        start = struct.unpack_from("<Q", out, 227)[0]
        assert out[start:] == packets


def test_waveforms_of_several_channels_are_not_compressed_because_lazrs_mixes_them_up():
    before = las_data(9)
    before.scanner_channel = np.arange(500, dtype=np.uint8) % 4
    data = to_bytes(before)
    after, _ = write(data, segmentation(500))
    assert_kept(before, after, but=["classification"])
    with pytest.raises(UnsupportedFormat, match="output=las"):
        write(data, segmentation(500), compressed=True)


def test_copc_becomes_plain_laz():
    before = las_data(6)
    before.vlrs.insert(0, laspy.VLR("copc", 1, "copc info", bytes(160)))
    before.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("copc", 1000, "hierarchy", bytes(32))])
    after, out = write(to_bytes(before, True), segmentation(500), compressed=True)
    assert b"copc" not in out
    assert len(after.evlrs) == 0
    assert_kept(before, after, but=["classification"])


def other_cloud(**options):
    rng = np.random.default_rng(3)
    xyz = rng.uniform([600_000, 6_800_000, 0], [600_100, 6_800_100, 30], (400, 3))
    return Cloud(xyz=xyz, format="ply", **options)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_cloud_of_another_format(compressed):
    rng = np.random.default_rng(4)
    normals = rng.normal(size=(400, 3)).astype(np.float32)
    rgb = rng.integers(0, 256, (400, 3), dtype=np.uint8)
    cloud = other_cloud(
        rgb=rgb,
        normals=normals,
        intensity=rng.random(400, dtype=np.float32),
        intensity_scale=1.0,
        extra={"return_number": np.full(400, 2.0), "number_of_returns": np.full(400, 3, np.uint8)},
    )
    out = WRITERS[compressed](cloud, segmentation(400), None)
    after = laspy.read(io.BytesIO(out))
    assert (str(after.header.version), after.header.point_format.id) == ("1.4", 7)
    np.testing.assert_allclose(after.xyz, cloud.xyz, atol=0.00051)
    np.testing.assert_array_equal(after.classification, np.array([2, 6, 9])[np.arange(400) % 3])
    np.testing.assert_array_equal(after.red, rgb[:, 0].astype(int) * 257)
    np.testing.assert_array_equal(after["normal_z"], normals[:, 2])
    assert set(after.return_number) == {2}
    assert set(after.number_of_returns) == {3}
    back = las.read(memoryview(out))
    np.testing.assert_array_equal(back.rgb, rgb)
    np.testing.assert_allclose(back.intensity / back.intensity_scale, cloud.intensity, atol=1e-5)


def written(cloud, compressed=False, **fields):
    """The cloud of another format as LAS, by laspy, and the warnings."""
    answer = segmentation(len(cloud), **fields)
    return laspy.read(io.BytesIO(WRITERS[compressed](cloud, answer, None))), answer.meta.warnings


RNG = np.random.default_rng(6)
ODD_INTENSITIES = {
    "0 to 1": (RNG.random(400), None, 65535.0, 0.0),
    "0 to 1 by scale": (RNG.random(400) / 2, 1.0, 65535.0, 0.0),
    "0 or 1 by scale": (RNG.integers(0, 2, 400), 1.0, 65535.0, 0.0),
    "fractions to 255": (RNG.random(400) * 250, 255.0, 257.0, 0.0),
    "signed": (RNG.integers(-2048, 2048, 400), None, None, None),
    "wide": (RNG.integers(70_000, 9_000_000, 400), None, None, 0.0),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ODD_INTENSITIES)
def test_intensities_that_are_no_16_bit_numbers_are_scaled_kept_and_told(kind, compressed):
    values, scale, factor, least = ODD_INTENSITIES[kind]
    values = values.astype(np.float32)
    after, warnings = written(other_cloud(intensity=values, intensity_scale=scale), compressed)
    np.testing.assert_array_equal(after["original_intensity"], values)
    least = values.min() if least is None else least
    factor = 65535 / (values.max() - least) if factor is None else factor
    np.testing.assert_allclose(after.intensity, (values.astype(float) - least) * factor, atol=0.51)
    assert [warning for warning in warnings if "the 400 values were scaled" in warning] == warnings


@pytest.mark.parametrize("greatest", [1, 255, 65535])
def test_intensities_of_16_bits_stay_as_they_are(greatest):
    values = RNG.integers(0, greatest + 1, 400).astype(np.float32)
    after, warnings = written(other_cloud(intensity=values))
    np.testing.assert_array_equal(after.intensity, values)
    assert (list(after.point_format.extra_dimension_names), warnings) == ([], [])


def test_intensities_that_are_not_finite_are_counted():
    values = np.arange(400, dtype=np.float32)
    values[[1, 5]] = np.nan, np.inf
    after, warnings = written(other_cloud(intensity=values))
    np.testing.assert_array_equal(after["original_intensity"], values)
    assert list(after.intensity[:7]) == [0, 0, 2, 3, 4, 0, 6]
    assert warnings == ["Intensities that are not finite: 2; in LAS they are 0, in original_intensity as they were."]


def test_columns_of_any_type_become_extra_dimensions_of_it():
    columns = {
        "height above ground": RNG.normal(size=400),
        "eigenvalue": RNG.normal(size=400).astype(np.float32),
        "small": RNG.normal(size=400).astype(np.float16),
        "id": RNG.integers(0, 2**63, 400),
        "unsigned": RNG.integers(0, 2**64, 400, dtype=np.uint64),
        "state": RNG.integers(-128, 128, 400).astype(np.int8),
        "label": RNG.integers(0, 5, 400).astype(np.int32),
        "intensity": RNG.random(400),
        "X": RNG.random(400),
        "n" * 40: np.arange(400),
        "n" * 40 + "n": np.arange(400) + 1,
        "\u00e4" * 20: np.arange(400) + 2,
    }
    columns["small"][7] = np.nan
    normals = RNG.normal(size=(400, 3)).astype(np.float32)
    after, warnings = written(other_cloud(extra=columns, normals=normals), confidence=np.ones(400, np.float32))
    names = dict(zip(columns, list(after.point_format.extra_dimension_names)[3:], strict=False))
    for name, values in columns.items():
        np.testing.assert_array_equal(after[names[name]], values, err_msg=name)
        assert after[names[name]].dtype == (np.float32 if name == "small" else values.dtype)
    np.testing.assert_array_equal(after["normal_y"], normals[:, 1])
    np.testing.assert_allclose(after["confidence"], 1)
    assert [names[name] for name in ("height above ground", "label")] == ["height above ground", "label"]
    assert all(len(name.encode()) <= 32 for name in names.values())
    (told,) = warnings
    assert told.startswith("Columns with another name in LAS: 5 (")
    assert "'intensity' is 'intensity_2'" in told


def test_more_columns_than_a_record_describes_are_counted():
    after, warnings = written(other_cloud(extra={f"c{i}": np.full(400, i, np.uint16) for i in range(400)}))
    kept = len(list(after.point_format.extra_dimension_names))
    assert 300 < kept < 341
    np.testing.assert_array_equal(after[f"c{kept - 1}"], kept - 1)
    assert f"the last {400 - kept} were left out" in warnings[0]


FIELDS = {
    "return_number": (np.arange(400) % 16, "return_number"),
    "scalar_Number Of Returns": (np.arange(400.0) % 5, "number_of_returns"),
    "scalar_Point_Source_ID": (np.arange(400.0), "point_source_id"),
    "UserData": (np.arange(400) % 256, "user_data"),
    "scanner_channel": (np.arange(400) % 4, "scanner_channel"),
    "withheld": (np.arange(400) % 2, "withheld"),
    "gps_time": (np.arange(400) / 7 + 1e9, "gps_time"),
}


def test_columns_that_las_knows_go_into_its_fields():
    after, warnings = written(other_cloud(extra={name: values for name, (values, _) in FIELDS.items()}))
    for values, field in FIELDS.values():
        np.testing.assert_array_equal(np.asarray(after[field]), values, err_msg=field)
    assert (list(after.point_format.extra_dimension_names), warnings) == ([], [])


@pytest.mark.parametrize(
    ("field", "values", "stored", "num_changed"),
    [
        ("return_number", [1.0, 15.0, 16.0, -1.0, 2.5, np.nan], [1, 15, 15, 0, 2, 0], 4),
        ("user_data", [0, 255, 256, -5, 1, 2], [0, 255, 255, 0, 1, 2], 2),
        ("point_source_id", [0, 65535, 65536, 70_000, 1, 2], [0, 65535, 65535, 65535, 1, 2], 2),
        ("scan_direction_flag", [0, 1, 2, 0, 1, 0], [0, 1, 1, 0, 1, 0], 1),
        ("scan_angle", [0, 12, -180, 180, 400, np.nan], [0, 2000, -30000, 30000, 30000, 0], 2),
        ("gps_time", [0, 1, 2**60 + 1, 2**62 + 1, 3, 4], [0, 1, 2**60, 2**62, 3, 4], 2),
    ],
)
def test_values_that_a_field_cannot_hold_are_kept_beside_it_and_counted(field, values, stored, num_changed):
    values = np.resize(np.array(values), 400)
    values[6:] = values[0]
    after, warnings = written(other_cloud(extra={field: values}))
    np.testing.assert_array_equal(np.asarray(after[field])[:6], stored)
    np.testing.assert_array_equal(after[f"original_{field}"], values)
    assert warnings[0].startswith(f"{num_changed:,} values of {field} do not go into the field {field}")


def test_codes_that_are_no_classification_are_not_made_others():
    codes = np.resize(np.array([2, 300, -1, 2.5, 6]), 400)
    answer = segmentation(400)
    data = las.write_las(other_cloud(extra={"classification": codes}), answer, None)
    np.testing.assert_array_equal(laspy.read(io.BytesIO(data))["original_classification"], codes)
    assert [
        warning for warning in answer.meta.warnings if "240 values of classification" in warning
    ] == answer.meta.warnings


def test_what_las_holds_goes_through_ply_and_back():
    """Every field and dimension that a LAS file has is one of the cloud read from it."""
    before = las_data(6, 300, extra=[("amplitude", "uint16"), ("height", "float64")])
    before.classification = np.arange(300, dtype=np.uint8) % 3
    read = las.read(memoryview(to_bytes(before)))
    after, warnings = written(Cloud(read.xyz, "ply", intensity=read.intensity, extra=read.extra))
    assert_kept(before, after, but=["X", "Y", "Z", "classification"])
    np.testing.assert_allclose(after.xyz, before.xyz, atol=1e-9)
    assert warnings == []


@pytest.mark.parametrize(
    ("spread", "scale"),
    [(0.001, None), (0.0001, None), (1.0, 1e-7), (0.01, 1e-7), (300.0, 1e-4), (1e7, 1e-2)],
)
def test_coordinates_are_as_fine_as_they_need(spread, scale):
    xyz = RNG.uniform(0, 1, (400, 3)) * spread + 500
    if scale is None:
        xyz = 600_000 + RNG.integers(0, 100_000, (400, 3)) * spread
        scale = spread
    after, warnings = written(Cloud(xyz, "text"))
    np.testing.assert_allclose(after.xyz, xyz, atol=scale * 0.51, rtol=0)
    assert ("too wide" in "".join(warnings)) == (scale > 1e-3)


def test_points_that_are_not_finite_are_noise_at_the_offset():
    cloud = other_cloud()
    cloud.xyz[5, 1], cloud.xyz[9] = np.nan, np.inf
    answer = segmentation(400, ignored=[5, 9])
    after = laspy.read(io.BytesIO(las.write_laz(cloud, answer, None)))
    assert len(after) == 400
    assert list(after.classification[[5, 9]]) == [7, 7]
    np.testing.assert_array_equal(after.xyz[5], after.header.offsets)
    np.testing.assert_allclose(after.xyz[6], cloud.xyz[6], atol=0.00051)
    assert "infinite coordinates: 2, or" in answer.meta.warnings[0]
    nothing = Cloud(xyz=np.full((3, 3), np.nan), format="ply")
    assert len(laspy.read(io.BytesIO(las.write_las(nothing, segmentation(3), None)))) == 3


def test_degrees_and_wide_clouds_keep_what_int32_can_hold():
    degrees = Cloud(np.random.default_rng(0).uniform([2, 48, 0], [2.01, 48.01, 90], (50, 3)), "csv")
    after = laspy.read(io.BytesIO(las.write_las(degrees, segmentation(50), None)))
    np.testing.assert_allclose(after.xyz[:, :2], degrees.xyz[:, :2], atol=6e-8)
    wide = other_cloud()
    wide.xyz[0, 0] = 1e12
    answer = segmentation(400)
    after = laspy.read(io.BytesIO(las.write_las(wide, answer, None)))
    np.testing.assert_allclose(after.xyz[:, 1:], wide.xyz[:, 1:], atol=0.00051)
    assert abs(after.xyz[0, 0] - 1e12) <= 1e3
    assert "too wide" in answer.meta.warnings[0]
    wide.xyz[0, 0] = 1e300
    answer = segmentation(400)
    after = laspy.read(io.BytesIO(las.write_las(wide, answer, None)))
    np.testing.assert_allclose(after.xyz[1:], wide.xyz[1:], atol=0.00051)
    assert after.classification[0] == 7
    assert "beyond" in answer.meta.warnings[0]


def test_a_label_for_every_point_is_demanded():
    data = memoryview(las_bytes())
    with pytest.raises(ValueError, match="499 labels for 500 points"):
        las.write_las(las.read(data), segmentation(499), data)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("point_format", [3, 6])
def test_labels_go_beside_the_classification_on_request(point_format, compressed):
    before = las_data(point_format)
    answer = segmentation(500, ignored=[0])
    answer.meta.label_column = "predicted"
    after, _ = write(to_bytes(before), answer, compressed)
    assert_kept(before, after)
    expected = np.array([2, 6, 9])[np.arange(500) % 3]
    expected[0] = 1
    np.testing.assert_array_equal(after["predicted"], expected)
    assert after["predicted"].dtype == np.uint8
    assert answer.meta.warnings == []


def test_labels_beside_the_classification_are_ids_if_there_are_no_codes():
    answer = segmentation(500, classes=INDOOR)
    answer.meta.label_column = "predicted"
    after, _ = write(to_bytes(las_data(6)), answer)
    np.testing.assert_array_equal(after["predicted"], answer.labels)


def test_points_that_kept_their_class_are_not_told_as_overwritten():
    before = las_data(6)
    before.classification = np.full(500, 17, np.uint8)
    kept = np.arange(500) < 200
    answer = segmentation(500, [*ASPRS, ClassInfo(1017, "bridge deck", (0, 0, 0), 17)])
    answer.labels = np.where(kept, 1017, 0).astype(np.int32)
    answer.meta.num_added, answer.meta.refined = 1, [RefinedStep("kept", 200)]
    after, _ = write(to_bytes(before), answer)
    np.testing.assert_array_equal(after.classification, np.where(kept, 17, 2))
    (warning,) = answer.meta.warnings
    assert warning.startswith("300 points of class 17 (bridge deck) were overwritten")
