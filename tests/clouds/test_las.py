import io
import struct

import laspy
import numpy as np
import pytest

from app.clouds import las, laz
from app.clouds.las_file import parse
from app.errors import BadCloud, TooLarge
from tests.clouds.las_samples import las_bytes, las_data, patched, to_bytes, undeclared


def cut_zeros(data):
    """The body of a 1.4 header's legacy fields, which laspy leaves zero."""
    return struct.unpack_from("<6I", data, 107)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("point_format", range(11))
def test_every_point_format(point_format, compressed):
    expected = las_data(point_format, extra=[("reflectance", "float32"), ("pair", "2u1"), ("amplitude", "uint16")])
    cloud = las.read(memoryview(to_bytes(expected, compressed)))

    assert cloud.format == ("laz" if compressed else "las")
    assert cloud.xyz.dtype == np.float64
    np.testing.assert_array_equal(cloud.xyz, expected.xyz)
    np.testing.assert_array_equal(cloud.intensity, expected.intensity)
    for name in ("classification", "return_number", "number_of_returns", "reflectance", "amplitude"):
        np.testing.assert_array_equal(cloud.extra[name], expected[name], err_msg=name)
    angles = expected.scan_angle * 0.006 if point_format >= 6 else expected.scan_angle_rank
    np.testing.assert_allclose(cloud.extra["scan_angle"], angles, rtol=1e-6)
    assert {"pair_0", "pair_1"} <= set(cloud.extra)
    assert ("gps_time" in cloud.extra) == (point_format not in (0, 2))
    assert (cloud.rgb is not None) == (point_format in (2, 3, 5, 7, 8, 10))
    told = "Colors have 16 bits a channel; the model and answers other than LAS get the upper 8: "
    assert [warning.startswith(told) for warning in cloud.warnings] == [True] * (cloud.rgb is not None)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("point_format", range(11))
@pytest.mark.parametrize("keep", [(), ("gps_time",), ("scan_angle", "amplitude"), ("user_data", "point_source_id")])
def test_columns_that_nobody_wants_are_told_but_not_unpacked(point_format, compressed, keep):
    data = memoryview(las_bytes(compressed, point_format=point_format, extra=[("nx", "float64"), ("amplitude", "u2")]))
    whole, part = las.read(data), las.read(data, keep=keep)
    used = {"classification", "return_number", "number_of_returns", "nx"}
    assert set(part.extra) == set(whole.extra) & {*used, *keep}
    for name, values in part.extra.items():
        np.testing.assert_array_equal(values, whole.extra[name], err_msg=name)
    for name in ("xyz", "rgb", "intensity"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name), err_msg=name)
    assert list(part.columns.items()) == list(whole.columns.items())
    assert part.warnings == whole.warnings


def test_layers_that_nobody_wants_are_not_even_looked_at(monkeypatch):
    asked = []
    monkeypatch.setattr(laz.lazrs, "DecompressionSelection", lambda value: asked.append(value) or None)
    data = memoryview(las_bytes(True, point_format=8, extra=[("amplitude", "u2")]))
    for keep in ((), ("gps_time",), ("amplitude",), None):
        las.read(data, keep=keep)
    few, timed, extra, all_of_them = asked
    assert timed - few == laz.lazrs.SELECTIVE_DECOMPRESS_GPS_TIME
    assert extra - few == laz.lazrs.SELECTIVE_DECOMPRESS_ALL_EXTRA_BYTES
    assert not all_of_them & laz.lazrs.SELECTIVE_DECOMPRESS_WAVEPACKET


@pytest.mark.parametrize("num_points", [1, 2, 49_999, 50_000, 50_001, 120_000])
def test_chunk_boundaries(num_points):
    for point_format in (1, 6):
        expected = las_data(point_format, num_points)
        np.testing.assert_array_equal(las.read(memoryview(to_bytes(expected, True))).xyz, expected.xyz)


@pytest.mark.parametrize(("version", "point_format"), [("1.1", 1), ("1.2", 3), ("1.3", 4), ("1.4", 3), ("1.4", 8)])
def test_versions(version, point_format):
    expected = las_data(point_format, version=version)
    np.testing.assert_array_equal(las.read(memoryview(to_bytes(expected))).xyz, expected.xyz)


def test_version_1_0_with_its_point_data_signature():
    expected = las_data(1)
    expected.header.extra_vlr_bytes = b"\xdd\xcc"
    data = patched(to_bytes(expected), 25, b"\0")
    np.testing.assert_array_equal(las.read(data).xyz, expected.xyz)


def test_count_in_the_64_bit_field_alone_and_in_the_legacy_field_alone():
    data = las_bytes(point_format=6)
    assert set(cut_zeros(data)) == {0}
    assert parse(memoryview(data)).num_points == 500
    legacy = patched(patched(data, 247, bytes(8)), 107, struct.pack("<I", 500))
    assert len(las.read(legacy)) == 500


def test_undeclared_extra_bytes_do_not_disturb():
    expected = las_data(3, extra=[("amplitude", "uint16")])
    for compressed in (False, True):
        cloud = las.read(memoryview(undeclared(to_bytes(expected, compressed))))
        np.testing.assert_array_equal(cloud.xyz, expected.xyz)
        assert "amplitude" not in cloud.extra


def test_scaled_extra_dimension_is_read_in_its_units():
    expected = las_data(1)
    expected.add_extra_dim(laspy.ExtraBytesParams("height", "int16", scales=[0.5], offsets=[10.0]))
    expected["height"] = np.arange(500) * 0.5
    cloud = las.read(memoryview(to_bytes(expected)))
    np.testing.assert_allclose(cloud.extra["height"], np.arange(500) * 0.5)


def test_copc_style_variable_chunks():
    """COPC is LAZ whose chunks have sizes of their own, in the chunk table."""
    import lazrs

    expected = las_data(7, 1000)
    plain = to_bytes(expected)
    start, length = struct.unpack_from("<I", plain, 96)[0], 36
    records = np.frombuffer(plain, np.uint8, 1000 * length, start)
    vlr = lazrs.LazVlr.new_for_compression(7, 0, use_variable_size_chunks=True)
    with_vlr = las_data(7, 1000)
    with_vlr.header.vlrs.insert(0, laspy.VLR("copc", 1, "copc info", bytes(160)))
    with_vlr.header.vlrs.append(laspy.VLR("laszip encoded", 22204, "", bytes(vlr.record_data())))
    head = to_bytes(with_vlr)
    head = head[: struct.unpack_from("<I", head, 96)[0]]
    out = io.BytesIO()
    out.write(patched(head, 104, bytes([7 | 0x80])))
    compressor = lazrs.LasZipCompressor(out, vlr)
    for part in (records[: 300 * length], records[300 * length :]):
        compressor.compress_many(part)
        compressor.finish_current_chunk()
    compressor.done()
    data = memoryview(out.getvalue())
    np.testing.assert_array_equal(las.read(data).xyz, expected.xyz)
    size_at = bytes(data).index(b"laszip encoded") - 2 + 54 + 12
    np.testing.assert_array_equal(las.read(patched(data, size_at, bytes(4))).xyz, expected.xyz)


@pytest.mark.parametrize(("greatest", "shift"), [(255, 0), (1023, 2), (4095, 4), (65535, 8)])
def test_color_depth_is_decided_from_all_points(greatest, shift):
    expected = las_data(2)
    expected.red[:] = np.arange(500) % 200
    expected.green[:] = 0
    expected.blue[:] = 0
    expected.blue[-1] = greatest
    rgb = las.read(memoryview(to_bytes(expected))).rgb
    np.testing.assert_array_equal(rgb[:, 0], (np.arange(500) % 200) >> shift)
    assert rgb[-1, 2] == 255


@pytest.mark.parametrize(("factor", "added", "num_told"), [(256, 0, 0), (257, 0, 0), (257, 1, 499), (16, 3, 500)])
def test_colors_of_more_than_8_bits_are_told_only_where_bits_are_lost(factor, added, num_told):
    expected = las_data(2)
    for name in ("red", "green", "blue"):
        expected[name] = np.full(500, 200 * factor, np.uint16)
    expected.red += added
    expected.red[0] = 0 if num_told == 499 else expected.red[0]
    cloud = las.read(memoryview(to_bytes(expected)))
    assert [f": {num_told} points have more." in warning for warning in cloud.warnings] == [True] * (num_told > 0)


def test_colors_that_are_all_zero_are_absent_with_a_warning():
    expected = las_data(2)
    for name in ("red", "green", "blue"):
        expected[name] = np.zeros(500, np.uint16)
    cloud = las.read(memoryview(to_bytes(expected)))
    assert cloud.rgb is None
    assert "color" in cloud.warnings[0]


@pytest.mark.parametrize(("greatest", "scale"), [(0, None), (255, 255), (256, 4095), (4096, 65535)])
def test_intensity_scale(greatest, scale):
    expected = las_data(0)
    expected.intensity = np.minimum(np.arange(500), greatest).astype(np.uint16)
    expected.intensity[-1] = greatest
    cloud = las.read(memoryview(to_bytes(expected)))
    assert cloud.intensity_scale == scale
    assert (cloud.intensity is None) == (scale is None)


def test_limit_is_checked_before_the_points_are_decoded():
    data = bytearray(las_bytes(compressed=True))
    data[-400:] = bytes(400)
    with pytest.raises(TooLarge, match="500"):
        las.read(memoryview(data), max_points=499)


def test_no_points():
    with pytest.raises(BadCloud, match="no points"):
        las.read(memoryview(las_bytes(num_points=0)))
