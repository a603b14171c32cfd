import sys
from subprocess import run

import pyproj
import pytest

from app.clouds.crs import MAX_CHARS, BadCrs, epsg_unit, short, system_of, units_of

US_FOOT = 1200 / 3937
WKT_VERSIONS = ["WKT1_GDAL", "WKT1_ESRI", "WKT2_2015", "WKT2_2019"]


def metres(units):
    return [unit.metres for unit in units.axes]


@pytest.mark.parametrize("version", [None, *WKT_VERSIONS, "json"])
@pytest.mark.parametrize(
    ("code", "expected", "z"),
    [
        ("EPSG:32618", [1, 1, 1], "assumed"),
        ("EPSG:2263", [US_FOOT] * 3, "assumed"),
        ("EPSG:2994", [0.3048] * 3, "assumed"),
        ("EPSG:6434+6360", [US_FOOT] * 3, "file"),
        ("EPSG:2225+8228", [US_FOOT, US_FOOT, 0.3048], "file"),
        ("EPSG:32618+6360", [1, 1, US_FOOT], "file"),
        ("EPSG:7405", [1, 1, 1], "file"),
    ],
)
def test_every_axis_has_its_unit_in_every_notation(code, expected, z, version):
    crs = pyproj.CRS(code)
    text = code if version is None else crs.to_json() if version == "json" else crs.to_wkt(version)
    units = units_of(text)
    assert metres(units) == pytest.approx(expected, rel=1e-9)
    assert [unit.source for unit in units.axes] == ["file", "file", z]
    assert units.crs
    assert not units.doubts


def test_codes_names_and_proj_strings():
    assert metres(units_of("2263")) == pytest.approx([US_FOOT] * 3)
    assert units_of("ESRI:102718").x.name == "US survey foot"
    assert metres(units_of("NAD27 / New York East")) == pytest.approx([US_FOOT] * 3)
    assert metres(units_of("+proj=utm +zone=18 +units=us-ft +vunits=ft")) == pytest.approx([US_FOOT, US_FOOT, 0.3048])
    assert units_of("EPSG:6360", "option").z.source == "option"


def test_degrees_are_angles_with_heights_of_their_own():
    units = units_of("EPSG:4979")
    assert [bool(unit.radians) for unit in units.axes] == [True, True, False]
    assert units.x.name == "degree"
    assert units_of("EPSG:4326+6360").z.name == "US survey foot"
    assert units_of("EPSG:4326").z.source == "assumed"


@pytest.mark.parametrize(
    ("wkt", "name"),
    [
        ('LOCAL_CS["site",UNIT["whatever",0.3048006]]', "US survey foot"),
        ('ENGCRS["a",EDATUM["b"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["ft",0.3048]]', "foot"),
        ('LOCAL_CS["site",UNIT["pace",0.75]]', "pace"),
        ('LOCAL_CS["site",UNIT["unknown",0.75]]', "unit of 0.75 m"),
    ],
)
def test_units_are_known_by_their_factor(wkt, name):
    assert units_of(wkt).x.name == name
    assert not units_of(wkt).doubts


def test_a_wkt_that_is_damaged_still_states_its_units():
    whole = pyproj.CRS("EPSG:32618+6360").to_wkt("WKT1_GDAL")
    cut = units_of(whole[: whole.index("AXIS", whole.index("VERT_CS"))])
    assert metres(cut) == pytest.approx([1, 1, US_FOOT])
    assert "damaged" in cut.doubts[0]
    named = units_of(pyproj.CRS("EPSG:2263").to_wkt()[:150])
    assert named.x.name == "US survey foot"
    incomplete = 'PROJCRS["x",CS[Cartesian,2],AXIS["e",east],AXIS["n",north],LENGTHUNIT["unknown",0.304800609601219]]'
    assert units_of(incomplete).x.plural == "US survey feet"
    degrees = 'GEOGCRS["x",CS[ellipsoidal,2],AXIS["e",east],AXIS["n",north],ANGLEUNIT["degree",0.0174532925199433]'
    assert units_of(degrees).x.radians


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("EPSG:99999", "not known"),
        ("anything", "not known"),
        ("+init=/etc/passwd:root", "names a file"),
        ("+proj=utm +zone=18 +nadgrids=/etc/passwd", "names a file"),
        ('PROJCS["x",GEOGCS["y"', "damaged"),
        ('LOCAL_CS["x",UNIT["nothing",0]]', "a unit of 0 m"),
        ('LOCAL_CS["x",UNIT["backwards",-1]]', "a unit of -1 m"),
        ("PROJCS[" * 9000, "not known"),
        ('UNIT["' * 10_000, "damaged"),
        ("a name of a place " * 50, "not known"),
        ("x" * (MAX_CHARS + 1), "characters"),
    ],
)
def test_what_is_no_coordinate_system(text, why):
    with pytest.raises(BadCrs, match=why):
        units_of(text)


def test_directions_that_mislead_are_told():
    assert "down" in units_of("EPSG:5715").doubts[0]
    assert "geocentric" in units_of("EPSG:4978").doubts[0]


def test_units_by_code():
    assert epsg_unit(9001).metres == 1
    assert epsg_unit(9002).name == "foot"
    assert epsg_unit(9003).metres == pytest.approx(US_FOOT, rel=1e-9)
    assert epsg_unit(9102).radians
    assert epsg_unit(1) is None


def test_pyproj_is_imported_with_the_first_coordinate_system_and_asks_no_server():
    code = (
        "import sys; import app.options, app.http.query; assert 'pyproj' not in sys.modules;"
        "from app.clouds.crs import units_of; units_of('EPSG:2263'); import pyproj.network;"
        "assert not pyproj.network.is_network_enabled()"
    )
    run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("version", WKT_VERSIONS)
def test_heights_behind_the_horizontal_system(version):
    horizontal, heights = (pyproj.CRS(code).to_wkt(version) for code in ("EPSG:26918", "EPSG:6360"))
    found = units_of(f"\ufeff{horizontal},\n{heights}")
    assert metres(found) == pytest.approx([1, 1, US_FOOT], rel=1e-9)
    assert [unit.source for unit in found.axes] == ["file"] * 3
    assert not found.doubts


@pytest.mark.parametrize("version", WKT_VERSIONS)
@pytest.mark.parametrize("code", ["EPSG:25832", "EPSG:2263", "EPSG:4326", "EPSG:25832+7837"])
def test_a_system_is_short_as_its_codes(code, version):
    if not (version == "WKT1_ESRI" and "+" in code):  # which has no compound systems
        assert short(pyproj.CRS(code).to_wkt(version)) == code
    assert short(code) == code


def test_what_the_codes_do_not_say_stays_as_it_is():
    horizontal, heights = (pyproj.CRS(code).to_wkt("WKT1_GDAL") for code in ("EPSG:26918", "EPSG:6360"))
    feet = horizontal.replace('UNIT["metre",1', 'UNIT["foot",0.3048')
    for text in (f"{horizontal},{heights}", feet, 'LOCAL_CS["here",UNIT["metre",1]]', "nothing"):
        assert short(text) == text


def test_a_system_that_names_a_file_is_none():
    assert system_of("+proj=utm +zone=32 +nadgrids=/etc/passwd") is None
    assert system_of("") is None
    assert system_of("EPSG:25832").name == "ETRS89 / UTM zone 32N"
