import re
from datetime import datetime
from itertools import pairwise

import laspy
import orjson
import pytest

from app.survey import vpc
from app.survey.sources import find
from tests.clouds.las_samples import las_data, to_bytes
from tests.survey.survey_files import ORIGIN, las


def written(folder, *clouds):
    vpc.write(str(folder / "survey.vpc"), ((cloud.name, str(cloud)) for cloud in clouds))
    return orjson.loads((folder / "survey.vpc").read_bytes())["features"]


@pytest.fixture
def cloud(tmp_path):
    def put(data, name="a.laz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return put


def check_item(item):
    """What STAC 1.0.0 and its extensions pointcloud and projection ask of an item."""
    assert item["type"] == "Feature"
    assert item["stac_version"] == "1.0.0"
    assert item["id"]
    assert item["links"] == []
    for url in item["stac_extensions"]:
        assert re.fullmatch(r"https://stac-extensions\.github\.io/(pointcloud|projection)/v[\d.]+/schema\.json", url)
    check_polygon(item["geometry"])
    check_polygon(item["properties"]["proj:geometry"])
    for box in (item["bbox"], item["properties"]["proj:bbox"]):
        assert len(box) == 6
        assert all(low <= high for low, high in zip(box[:3], box[3:], strict=True))
    about = item["properties"]
    assert datetime.fromisoformat(about["datetime"].replace("Z", "+00:00"))
    assert isinstance(about["pc:count"], int)
    assert about["pc:count"] > 0
    assert about["pc:type"] == "lidar"
    assert about["pc:encoding"]
    assert isinstance(about["proj:wkt2"], str)
    assert {"X", "Y", "Z", "Intensity", "Classification"} <= {column["name"] for column in about["pc:schemas"]}
    for column in about["pc:schemas"]:
        assert set(column) == {"name", "size", "type"}
        assert column["type"] in ("floating", "unsigned", "signed")
        assert column["size"] in (1, 2, 4, 8)
    assert item["assets"]["data"]["roles"] == ["data"]


def check_polygon(geometry):
    assert geometry["type"] == "Polygon"
    (ring,) = geometry["coordinates"]
    assert ring[0] == ring[-1]
    assert len(ring) == 5
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    assert area > 0  # counter-clockwise, as RFC 7946 wants an outer ring


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_an_item_is_as_stac_asks_and_qgis_reads(tmp_path, cloud, version):
    (item,) = written(tmp_path, cloud(las(1, 2, version=version, format=6 if version == "1.4" else 3, compressed=True)))
    check_item(item)
    about = item["properties"]
    assert (about["pc:count"], about["proj:epsg"], about["pc:encoding"]) == (50, 25832, "LASzip")
    assert about["proj:bbox"] == pytest.approx(
        [ORIGIN[0] + 100, ORIGIN[1] + 200, 5, ORIGIN[0] + 200, ORIGIN[1] + 300, 25]
    )
    assert about["proj:wkt2"].startswith("PROJCRS[")
    west, south, low, east, north, high = item["bbox"]
    assert (low, high) == (5, 25)
    assert west == pytest.approx(9.0015, abs=1e-3)  # the central meridian of zone 32 is at 9 degrees east
    assert south == pytest.approx(52.35, abs=1e-2)
    assert 0 < east - west < 0.01
    assert 0 < north - south < 0.01
    assert item["assets"]["data"]["href"] == "./a.laz"


def test_columns_are_those_of_the_point_format(tmp_path, cloud):
    data = to_bytes(las_data(7, 20, extra=[("confidence", "f4"), ("pair", "2u2")]))
    (item,) = written(tmp_path, cloud(data))
    found = {column["name"]: (column["type"], column["size"]) for column in item["properties"]["pc:schemas"]}
    assert found["Red"] == ("unsigned", 2)
    assert found["GpsTime"] == ("floating", 8)
    assert found["confidence"] == ("floating", 4)
    assert found["pair_0"] == found["pair_1"] == ("unsigned", 2)
    assert "Infrared" not in found


def test_a_system_of_two_has_its_wkt_and_no_code(tmp_path, cloud):
    (item,) = written(tmp_path, cloud(las(crs="EPSG:25832+7837")))
    check_item(item)
    code = item["properties"].get("proj:epsg")
    assert code is None or isinstance(code, int)  # QGIS takes no null
    assert item["properties"]["proj:wkt2"].startswith("COMPOUNDCRS[")
    assert item["bbox"][0] == pytest.approx(9.0, abs=1e-3)


def test_without_a_system_coordinates_stand_as_they_are(tmp_path, cloud):
    (item,) = written(tmp_path, cloud(las(crs="")))
    check_item(item)
    assert item["properties"]["proj:wkt2"] == ""
    assert item["bbox"] == item["properties"]["proj:bbox"]


def test_a_day_that_cannot_be_is_none(tmp_path, cloud):
    data = bytearray(las())
    data[90:94] = b"\xff\xff\xff\xff"
    (item,) = written(tmp_path, cloud(bytes(data)))
    assert item["properties"]["datetime"] == "1970-01-01T00:00:00Z"


def test_what_has_no_points_is_left_out(tmp_path, cloud):
    clouds = [cloud(las(), "a.laz"), cloud(las(num_points=0), "b.laz"), cloud(b"1 2 3", "c.xyz"), tmp_path / "gone.laz"]
    assert [item["id"] for item in written(tmp_path, *clouds)] == ["a.laz"]
    assert written(tmp_path) == []


def test_what_was_written_is_a_source(tmp_path, cloud):
    clouds = [cloud(las(x), f"out/sub dir/{x}%20.laz") for x in range(3)]
    (tmp_path / "out" / "maps").mkdir()
    written(tmp_path / "out" / "maps", *clouds)
    found = list(find([str(tmp_path / "out" / "maps" / "survey.vpc")]))
    assert [source.path for source in found] == [str(each.resolve()) for each in clouds]
    assert not [source.error for source in found if source.error]


def test_the_file_appears_whole_or_not_at_all(tmp_path, cloud):
    path = tmp_path / "survey.vpc"
    written(tmp_path, cloud(las()))
    before = path.read_bytes()

    def clouds():
        yield "a", str(tmp_path / "a.laz")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vpc.write(str(path), clouds())
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == {"a.laz", "survey.vpc"}


def test_laspy_agrees_with_what_an_item_says(tmp_path, cloud):
    path = cloud(las(5, 6))
    (item,) = written(tmp_path, path)
    with laspy.open(path) as file:
        header = file.header
    assert item["properties"]["proj:bbox"] == pytest.approx([*header.mins, *header.maxs])
    assert item["properties"]["pc:count"] == header.point_count
