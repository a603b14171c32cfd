import struct

import laspy
import numpy as np
import pyproj
import pytest

from app.clouds import formats
from app.clouds.units import METRE, Units
from tests.clouds.las_samples import las_data, patched, to_bytes

PROJECTION = "LASF_Projection"
US_FOOT = 1200 / 3937
WKT_BIT = 0x10
ASSUMED = Units(METRE, METRE, METRE)


def directory(*keys):
    """A GeoKeyDirectory of (key, value) or (key, location, count, offset)."""
    rows = [key if len(key) == 4 else (key[0], 0, 1, key[1]) for key in keys]
    return struct.pack("<4H", 1, 1, 0, len(rows)) + b"".join(struct.pack("<4H", *row) for row in rows)


def las_file(*records, point_format=1, evlrs=(), encoding=None, xyz=None):
    """A LAS file with ``records`` (id, data) of the projection; ``encoding`` is its global encoding."""
    las = las_data(point_format, num_points=50, vlrs=False)
    if xyz is not None:
        las.header.scales, las.header.offsets = [1e-7, 1e-7, 0.001], xyz[0]
        las = laspy.LasData(las.header, las.points)
        las.x, las.y, las.z = xyz.T
    for number, data in records:
        las.header.vlrs.append(laspy.VLR(PROJECTION, number, "", data))
    if evlrs:
        las.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR(PROJECTION, number, "", data) for number, data in evlrs])
    data = to_bytes(las)
    return data if encoding is None else patched(data, 6, struct.pack("<H", encoding))


def read(*records, crs="", units="", **options):
    return formats.read(memoryview(las_file(*records, **options)), crs=crs, units=units)


def metres(cloud):
    return [unit.metres for unit in cloud.units.axes]


def wkt(code, version="WKT1_GDAL"):
    return 2112, pyproj.CRS(code).to_wkt(version).encode() + b"\0"


def keys(*pairs, doubles=b"", texts=b""):
    records = [(34735, directory(*pairs))]
    return records + ([(34736, doubles)] if doubles else []) + ([(34737, texts)] if texts else [])


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(1024, 1), (3072, 2263)], [US_FOOT] * 3),
        ([(1024, 1), (3072, 2994)], [0.3048] * 3),
        ([(3072, 2225)], [US_FOOT] * 3),
        ([(1024, 1), (3072, 2263), (4096, 6360)], [US_FOOT] * 3),
        ([(1024, 1), (3072, 2225), (4096, 8228)], [US_FOOT, US_FOOT, 0.3048]),
        ([(1024, 1), (3072, 32618), (3076, 9001), (4096, 6360)], [1, 1, US_FOOT]),
        ([(1024, 1), (3072, 2263), (4096, 5703)], [US_FOOT, US_FOOT, 1]),
        ([(1024, 1), (3072, 2263), (4096, 5103), (4099, 9003)], [US_FOOT] * 3),
        ([(1024, 1), (3072, 2263), (4096, 5103)], [US_FOOT] * 3),
        ([(1024, 1), (3072, 32767), (3076, 9002)], [0.3048] * 3),
        ([(1024, 1), (3072, 32767), (3076, 9002), (4099, 9001)], [0.3048, 0.3048, 1]),
        ([(1024, 1), (3076, 9003), (4099, 9003)], [US_FOOT] * 3),
        ([(1024, 1), (3072, 7405)], [1, 1, 1]),
        ([(1024, 1), (3072, 32618), (4099, 9002)], [1, 1, 0.3048]),
    ],
)
def test_geotiff_keys(pairs, expected):
    cloud = read(*keys(*pairs))
    assert metres(cloud) == pytest.approx(expected, rel=1e-9)
    assert cloud.units.x.source == "file"
    assert not cloud.warnings


def test_a_unit_that_a_key_gives_the_size_of():
    pairs = [(1024, 1), (3076, 32767), (3077, 34736, 1, 1)]
    assert metres(read(*keys(*pairs, doubles=struct.pack("<2d", 5, 0.3048006)))) == pytest.approx([US_FOOT] * 3)
    nonsense = read(*keys(*pairs, doubles=struct.pack("<2d", 5, 0)))
    assert "a unit of 0 m" in nonsense.warnings[0]
    assert metres(nonsense) == [1, 1, 1]
    assert read(*keys(*pairs)).units is None  # the numbers are not there


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NAD83 / New York Long Island (ftUS)", [US_FOOT] * 3),
        ("NAD_1983_StatePlane_Colorado_North_FIPS_0501_Feet", [US_FOOT] * 3),
        ("NAD_1983_HARN_StatePlane_Oregon_North_FIPS_3601_Feet_Intl", [0.3048] * 3),
        ("NAD83(HARN) / Oregon GIC Lambert (ft)", [0.3048] * 3),
        ("NAD27 / New York East", [US_FOOT] * 3),
        ("local grid, US survey feet", [US_FOOT] * 3),
        ("NAD83 / UTM zone 18N + NAVD88 height (ftUS)", [1, 1, US_FOOT]),
        ("WGS 84 / UTM zone 31N (m)", [1, 1, 1]),
        ("EPSG:2263", [US_FOOT] * 3),
        ("PCS Name = " + pyproj.CRS("EPSG:2263").to_wkt("WKT1_ESRI"), [US_FOOT] * 3),
    ],
)
@pytest.mark.parametrize("key", [3073, 1026])
def test_citations(key, text, expected):
    raw = text.encode() + b"|"
    cloud = read(*keys((1024, 1), (key, 34737, len(raw), 4), texts=b"abc|" + raw))
    assert metres(cloud) == pytest.approx(expected, rel=1e-9)


def test_a_citation_that_says_nothing():
    raw = b"somewhere leftwards|"
    assert read(*keys((1024, 1), (1026, 34737, len(raw), 0), texts=raw)).units is None


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([(1024, 1), (3072, 65000)], "EPSG:65000"),
        ([(1024, 1), (3072, 2263), (3076, 9001)], "contradict each other"),
        ([(1024, 1), (3072, 2263), (4099, 17)], "unit of z"),
        ([(1024, 1), (3076, 9102)], "linear unit"),
        ([(4099, 9002)], "z only"),
    ],
)
def test_keys_that_make_no_sense_are_told_and_fail_nothing(pairs, said):
    cloud = read(*keys(*pairs))
    assert any(said in warning for warning in cloud.warnings)


def test_a_directory_that_is_damaged():
    for key in (1024, 2048, 2054, 3072, 3076, 3077, 4096, 4099):  # text where a number is due
        assert read(*keys((1024, 1), (key, 34737, 5, 0), texts=b"9003|")).units in (None, ASSUMED)
    assert read((34735, b"")).units is None
    assert read((34735, directory((3072, 2263))[:13])).units is None
    assert read((34735, directory((1026, 34737, 60000, 60000), (3077, 34736, 1, 900)))).units is None


@pytest.mark.parametrize("version", ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2019"])
@pytest.mark.parametrize("place", ["vlr", "evlr", "liblas"])
def test_wkt(version, place):
    record = wkt("EPSG:32618+6360", version)
    if place == "liblas":
        data = las_file(record).replace(b"LASF_Projection\0", b"liblas".ljust(16, b"\0"))
    else:
        data = las_file(record) if place == "vlr" else las_file(point_format=6, evlrs=[record])
    cloud = formats.read(memoryview(data))
    assert metres(cloud) == pytest.approx([1, 1, US_FOOT])
    assert cloud.units.crs == "WGS 84 / UTM zone 18N + NAVD88 height (ftUS)"
    assert not cloud.warnings


@pytest.mark.parametrize(("encoding", "expected"), [(0, US_FOOT), (WKT_BIT, 1), (WKT_BIT | 1, 1)])
def test_the_bit_of_the_header_decides_between_wkt_and_keys(encoding, expected):
    cloud = read(wkt("EPSG:32618"), *keys((1024, 1), (3072, 2263)), encoding=encoding)
    assert metres(cloud) == pytest.approx([expected] * 3)
    assert "contradict each other" in cloud.warnings[0]
    alike = read(wkt("EPSG:2263"), *keys((1024, 1), (3072, 2263)), encoding=encoding)
    assert metres(alike) == pytest.approx([US_FOOT] * 3)
    assert not alike.warnings


def test_what_the_other_record_says_where_one_is_broken():
    cloud = read((2112, b'PROJCS["cut'), *keys((1024, 1), (3072, 2263)), encoding=WKT_BIT)
    assert metres(cloud) == pytest.approx([US_FOOT] * 3)
    assert "damaged" in cloud.warnings[0]
    only = read((2112, b"\xff\xfe nothing"))
    assert metres(only) == [1, 1, 1]
    assert "units=" in only.warnings[1]
    assert read((2112, b"\0\0")).units is None


def test_a_wkt_of_megabytes_is_not_parsed():
    cloud = read(point_format=6, evlrs=[(2112, b'PROJCS["x",' * 400_000)])
    assert "4,400,000 bytes" in cloud.warnings[0]


def test_degrees_are_projected_where_the_cloud_lies():
    rng = np.random.default_rng(0)
    xyz = np.c_[rng.uniform(-73.99, -73.98, 50), rng.uniform(40.70, 40.71, 50), rng.uniform(0, 30, 50)]
    for records in ([wkt("EPSG:4979", "WKT2_2019")], keys((1024, 2), (2048, 4326))):
        cloud = read(*records, xyz=xyz)
        projected = pyproj.Transformer.from_crs("EPSG:4326", "+proj=aeqd +lon_0=-73.985 +lat_0=40.705", always_xy=True)
        expected = np.stack(projected.transform(*xyz[:, :2].T), axis=1)
        found = (cloud.xyz * metres(cloud))[:, :2]
        np.testing.assert_allclose(found - found[0], expected - expected[0], atol=0.2)  # of 1.1 km
        assert not cloud.warnings
    assert "look like degrees" in read(xyz=xyz).warnings[0]
    assert not read(xyz=xyz, units="deg").warnings
    assert metres(read(xyz=xyz, crs="EPSG:4326")) == pytest.approx(metres(cloud))


def test_degrees_that_cannot_be_any():
    cloud = read(*keys((1024, 2), (2048, 4326)))  # the coordinates are those of a national grid
    assert metres(cloud) == [1, 1, 1]
    assert "beyond" in cloud.warnings[0]


def test_latitude_before_longitude():
    xyz = np.c_[np.linspace(40.7, 40.71, 50), np.linspace(-123.4, -123.39, 50), np.zeros(50)]
    cloud = read(wkt("EPSG:4979", "WKT2_2019"), xyz=xyz)
    assert metres(cloud)[0] > metres(cloud)[1] > 0
    assert "Latitudes were found in x" in cloud.warnings[0]


def test_options_win_and_what_they_leave_open_is_the_files():
    vertical = keys((1024, 1), (3072, 32618), (4096, 6360))
    cloud = read(*vertical, crs="EPSG:2263")
    assert metres(cloud) == pytest.approx([US_FOOT] * 3)
    assert [unit.source for unit in cloud.units.axes] == ["option", "option", "file"]
    assert "request was followed" in cloud.warnings[0]
    assert metres(read(*vertical, units="m")) == [1, 1, 1]
    assert metres(read(*vertical, crs="EPSG:2263", units="m,m,ft")) == [1, 1, 0.3048]
    assert not read(*vertical, crs="EPSG:32618+6360").warnings
    broken = read((2112, b"nothing"), units="ft")
    assert metres(broken) == [0.3048] * 3
    assert not broken.warnings


def test_the_coordinates_stay_as_they_are():
    stated, silent = read(*keys((1024, 1), (3072, 2263))), read()
    np.testing.assert_array_equal(stated.xyz, silent.xyz)
    assert silent.units is None


def test_an_empty_record_hides_no_other():
    assert metres(read((2112, b"\0"), wkt("EPSG:2994"), encoding=WKT_BIT)) == [0.3048] * 3


@pytest.mark.parametrize(
    ("keys", "expected"), [([(2048, 4978)], 1), ([(2048, 4326)], 1), ([], 1), ([(2048, 32767), (3076, 9002)], 0.3048)]
)
def test_keys_of_a_geocentric_system(keys, expected):
    found = read((34735, directory((1024, 3), *keys)))
    assert metres(found) == [expected] * 3
    assert any("geocentric" in warning for warning in found.warnings)
