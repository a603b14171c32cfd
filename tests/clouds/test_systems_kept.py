"""Coordinate systems and units in new files: what was stated of a cloud is read of the answer."""

import numpy as np
import pytest

from app.clouds import formats
from app.clouds.cloud import Cloud
from tests.clouds.cloud_samples import cloud, segmentation

FOOT, US_FOOT = 0.3048, 1200 / 3937
OUTPUTS = ["las", "laz", "copc", "ply", "pcd"]
OWN_WKT = (
    'PROJCS["site, in feet",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",40],PARAMETER["central_meridian",-74],PARAMETER["scale_factor",1],'
    'PARAMETER["false_easting",0],PARAMETER["false_northing",0],UNIT["foot",0.3048]]'
)


def labelled_again(output: str, crs: str = "", units: str = "", given: Cloud | None = None) -> tuple[Cloud, list[str]]:
    """The cloud of an answer in this format to a cloud of no system but that of the request, and the warnings."""
    source = formats.read(memoryview(formats.write("csv", given or cloud(), segmentation())), crs=crs, units=units)
    answer = segmentation()
    return formats.read(memoryview(formats.write(output, source, answer))), answer.meta.warnings


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("crs", "name", "metres"),
    [
        ("EPSG:2154", "RGF93 v1 / Lambert-93", (1, 1, 1)),
        ("EPSG:2263", "NAD83 / New York Long Island (ftUS)", (US_FOOT,) * 3),
        ("EPSG:6434+5703", "NAD83(2011) / Connecticut (ftUS) + NAVD88 height", (US_FOOT, US_FOOT, 1)),
        (OWN_WKT, "site, in feet", (FOOT,) * 3),
    ],
    ids=["metres", "feet", "heights in metres", "own"],
)
def test_system_is_in_the_answer(output, crs, name, metres):
    found, _ = labelled_again(output, crs)
    assert found.units.crs == name
    assert [axis.metres for axis in found.units.axes] == pytest.approx(metres, rel=1e-9)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("units", "metres"), [("us-ft", (US_FOOT,) * 3), ("ft,ft,m", (FOOT, FOOT, 1)), ("0.9", (0.9,) * 3)]
)
def test_units_are_in_the_answer(output, units, metres):
    found, _ = labelled_again(output, units=units)
    assert [axis.metres for axis in found.units.axes] == pytest.approx(metres, rel=1e-9)


@pytest.mark.parametrize("output", OUTPUTS)
def test_degrees_are_in_the_answer(output):
    given = Cloud(np.array([[4.1, 50.2, 10.0], [4.2, 50.3, 11.0], [4.3, 50.4, 12.0]]), "text")
    found, _ = labelled_again(output, "EPSG:4326", given=given)
    assert found.units.crs == "WGS 84"
    assert found.units.x.radians == pytest.approx(np.pi / 180)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_unit_that_is_not_that_of_the_system_wins(output):
    found, warnings = labelled_again(output, "EPSG:2154", "ft")
    assert [axis.metres for axis in found.units.axes] == pytest.approx([FOOT] * 3)
    assert found.units.crs == "RGF93 v1 / Lambert-93" or any("Lambert-93 is left out" in each for each in warnings)


@pytest.mark.parametrize("output", ["ply", "pcd"])
def test_a_system_too_long_for_a_comment_is_told_and_its_unit_kept(output):
    parameter = 'PARAMETER["false_northing",0],'
    long = OWN_WKT.replace(parameter, parameter + "".join(f'EXTENSION["e{n}","{n:0>50}"],' for n in range(20)))
    found, warnings = labelled_again(output, long)
    assert [axis.metres for axis in found.units.axes] == pytest.approx([FOOT] * 3)
    assert any("site, in feet is left out" in warning for warning in warnings)


@pytest.mark.parametrize("output", OUTPUTS)
def test_nothing_is_stated_where_nothing_was(output):
    found, _ = labelled_again(output)
    assert found.units is None
