import os
import struct

import laspy
import numpy as np
import pytest

from app.clouds.las_file import parse
from app.options import Options
from app.survey.headers import tile_of, tiles
from app.survey.sources import find
from app.survey.tile import Source
from tests.clouds.las_samples import las_data, patched, to_bytes
from tests.survey.survey_files import ORIGIN, SIZE_M, UTM, las


@pytest.fixture
def described(tmp_path):
    def describe(data, name="a.laz"):
        (tmp_path / name).write_bytes(data)
        return tile_of(Source(name, str(tmp_path / name)))

    return describe


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("version", "format"), [("1.2", 1), ("1.4", 6)])
def test_all_of_a_header(described, version, format, compressed):
    data = las(2, 3, version=version, format=format, compressed=compressed)
    tile = described(data)
    low = np.add(ORIGIN, (2 * SIZE_M, 3 * SIZE_M))
    assert tile.error == ""
    assert tile.format == ("laz" if compressed else "las")
    assert (tile.num_points, tile.num_bytes, tile.crs, tile.metres_per_unit) == (50, len(data), UTM, (1.0, 1.0))
    np.testing.assert_allclose(tile.bounds, [*low, 5, *(low + SIZE_M), 25])


def test_points_are_not_read(described):
    data = bytearray(las(num_points=20_000, compressed=True))
    data[5000:-100] = bytes(len(data) - 5100)
    assert described(bytes(data)).num_points == 20_000


def test_units_other_than_metres(described):
    tile = described(las(crs="EPSG:2263+6360"))
    assert (tile.crs, tile.metres_per_unit) == ("EPSG:8767", (1200 / 3937, 1200 / 3937))  # which is both
    assert described(las(crs="")).metres_per_unit is None


def test_what_the_request_says_of_coordinates_counts_for_the_file_that_says_nothing_or_something_else(tmp_path):
    cases = {
        ("", "", "ft"): ("", 0.3048),
        ("", "EPSG:2263", ""): ("EPSG:2263", 1200 / 3937),
        (UTM, "", "ft"): ("", 0.3048),
        (UTM, "", "m"): (UTM, 1.0),
        (UTM, "EPSG:2263", "m"): ("EPSG:2263", 1.0),
    }
    source = Source("a.laz", str(tmp_path / "a.laz"))
    for (stated, crs, units), expected in cases.items():
        (tmp_path / "a.laz").write_bytes(las(crs=stated))
        tile = tile_of(source, Options(crs=crs, units=units))
        assert (tile.error, tile.crs, (tile.metres_per_unit or (0,))[0]) == ("", *expected)
    assert "crs= is no coordinate system" in tile_of(source, Options(crs="nowhere")).error


def test_degrees_have_the_metres_of_their_latitude(described):
    tile = described(las(crs="EPSG:4326", origin=(10.0, 60.0)))
    assert tile.metres_per_unit is None  # 100 degrees further north is nowhere
    data = las_data(6, 10, vlrs=False)
    data.header.vlrs.append(laspy.vlrs.known.WktCoordinateSystemVlr(wkt("EPSG:4326")))
    data.header.global_encoding.wkt = True
    data.header.offsets, data.header.scales = [10, 60, 0], [1e-7] * 3
    data.xyz = np.full((10, 3), [10.0, 60.0, 0.0])
    metres = described(to_bytes(data)).metres_per_unit
    np.testing.assert_allclose(metres, (55_800, 1.0), rtol=1e-3)


def wkt(crs):
    from pyproj import CRS

    return CRS.from_user_input(crs).to_wkt("WKT1_GDAL")


def test_keys_of_geotiff_give_the_same_system(described):
    data = las_data(1, 20, vlrs=False)
    keys = struct.pack("<16H", 1, 1, 0, 3, 1024, 0, 1, 1, 3072, 0, 1, 25832, 4096, 0, 1, 7837)
    data.header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", keys))
    assert described(to_bytes(data)).crs == "EPSG:25832+7837"


def test_keys_that_contradict_themselves_name_no_system(described):
    data = las_data(1, 20, vlrs=False)
    keys = struct.pack("<16H", 1, 1, 0, 3, 1024, 0, 1, 1, 3072, 0, 1, 2263, 3076, 0, 1, 9001)
    data.header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", keys))
    tile = described(to_bytes(data))
    assert (tile.crs, tile.metres_per_unit) == ("", (1.0, 1.0))


def test_a_system_behind_the_points(described):
    data = las_data(6, 20, vlrs=False)
    text = wkt(UTM).encode()
    data.header.evlrs = laspy.vlrs.vlrlist.VLRList()
    data.header.evlrs.append(laspy.VLR("someone", 7, "", bytes(200_000)))
    data.header.evlrs.append(laspy.VLR("LASF_Projection", 2112, "", text))
    data.header.global_encoding.wkt = True
    assert described(to_bytes(data)).crs == UTM


def test_records_larger_than_what_is_read_at_once(described):
    data = las_data(6, 20, vlrs=False)
    for _ in range(3):
        data.header.vlrs.append(laspy.VLR("someone", 7, "", bytes(60_000)))
    data.header.vlrs.append(laspy.vlrs.known.WktCoordinateSystemVlr(wkt(UTM)))
    data.header.global_encoding.wkt = True
    assert described(to_bytes(data)).crs == UTM


def test_the_number_is_that_of_the_reader(described):
    data = patched(las(num_points=40), 247, struct.pack("<Q", 0))  # what a writer that was stopped leaves
    data = bytes(patched(data, 107, struct.pack("<I", 0)))
    assert described(data).num_points == parse(memoryview(data)).num_points == 40


@pytest.mark.parametrize(
    "numbers", [(np.nan,) * 6, (0, 1, 0, 1, 0, 1), (1e300, 0, 1, 0, 1, 0), (np.inf, 0, 1, 0, 1, 0)]
)
def test_bounds_that_cannot_be_are_none(described, numbers):
    tile = described(bytes(patched(las(), 179, struct.pack("<6d", *numbers))))
    assert (tile.bounds, tile.num_points, tile.error) == (None, 50, "")


def test_no_points_have_no_bounds(described):
    tile = described(las(num_points=0))
    assert (tile.num_points, tile.bounds, tile.error) == (0, None, "")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"LASF", "cut off inside its header"),
        (b"\0" * 1000, "Not a LAS file"),
        (bytes(patched(las(), 24, b"\x02")), "version 2.4"),
        (las()[:1200], "the file holds"),
    ],
)
def test_a_damaged_header_is_a_tile_with_its_reason(described, data, reason):
    tile = described(data)
    assert reason in tile.error
    assert tile.num_points is tile.bounds is None
    assert tile.format in ("las", "laz")
    assert tile.version


def test_other_formats(described):
    ply = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    tile = described(ply + b"1 2 3\n4 5 6\n", "a.ply")
    assert (tile.format, tile.num_points, tile.bounds, tile.error) == ("ply", 2, None, "")
    assert described(b"1 2 3\n4 5 6\n", "a.xyz").format == "text"
    assert described(las(), "a.ply").format == "las"  # the content decides
    assert described(b"?", "a.dat").format == ""


def test_the_version_changes_with_the_file(described, tmp_path):
    first = described(las())
    os.utime(tmp_path / "a.laz", ns=(1, 1))
    assert tile_of(Source("a.laz", first.path)).version != first.version
    assert described(las(num_points=51)).version != first.version


def test_one_bad_tile_among_many_in_their_order(tmp_path):
    for x in range(300):
        (tmp_path / f"{x:03}.las").write_bytes(las(x) if x != 7 else b"LASF")
    (tmp_path / "list.txt").write_text("\n".join(f"{x:03}.las" for x in range(301)))
    found = list(tiles(find([f"@{tmp_path}/list.txt"], buffer_only=["1*"])))
    assert [tile.name for tile in found] == [f"{x:03}.las" for x in range(301)]
    assert [tile.name for tile in found if tile.error] == ["007.las", "300.las"]
    assert "does not exist" in found[300].error
    assert [tile.is_context for tile in found] == [100 <= x < 200 for x in range(301)]


def test_what_is_no_file_is_a_tile_with_its_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe.laz")
    (tmp_path / "closed.laz").symlink_to(tmp_path / "gone.laz")
    found = {tile.name: tile.error for tile in tiles(find([str(tmp_path)]))}
    assert "no file" in found["pipe.laz"]
    assert "does not exist" in found["closed.laz"]
