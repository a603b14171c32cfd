"""columns=channel:column: which column of a file feeds what, in every kind of format."""

import io

import laspy
import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from app.clouds import formats
from app.clouds.checks import check_cloud
from app.clouds.cloud import Cloud
from app.clouds.columns_option import parse_wanted
from app.errors import BadCloud, BadRequest, Problem, UnsupportedFormat
from tests.clouds.cloud_samples import npy, npz

EAST, NORTH, UP = np.array([[10.0, 11, 12], [20, 21, 22], [30, 31, 33]])
ECHO = np.array([1, 2, 900], np.uint16)
TABLE = "east,north,up,echo,strength\n" + "\n".join(
    f"{e},{n},{u},{s},0.5" for e, n, u, s in zip(EAST, NORTH, UP, ECHO, strict=True)
)
PLACES = ("x:east", "y:north", "z:up")


def read(data: bytes, *columns: str, **options: str) -> Cloud:
    return check_cloud(formats.read(memoryview(data), columns=columns or None, **options))


def structured() -> np.ndarray:
    names = {"east": EAST, "north": NORTH, "up": UP, "echo": ECHO, "strength": np.full(3, 7, np.uint8)}
    array = np.empty(3, [(name, values.dtype) for name, values in names.items()])
    for name, values in names.items():
        array[name] = values
    return array


def ply() -> bytes:
    buffer = io.BytesIO()
    PlyData([PlyElement.describe(structured(), "vertex")]).write(buffer)
    return buffer.getvalue()


def pcd() -> bytes:
    array = structured()
    names = array.dtype.names
    head = [
        "VERSION 0.7",
        f"FIELDS {' '.join(names)}",
        f"SIZE {' '.join(str(array.dtype[name].itemsize) for name in names)}",
        f"TYPE {' '.join(array.dtype[name].kind.upper() for name in names)}",
        "COUNT 1 1 1 1 1",
        "WIDTH 3",
        "HEIGHT 1",
        "POINTS 3",
        "DATA ascii",
    ]
    return "\n".join([*head, *(" ".join(f"{value:g}" for value in row) for row in array.tolist()), ""]).encode()


def las(**extra: np.ndarray) -> bytes:
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales = [0.001] * 3
    header.add_extra_dims([laspy.ExtraBytesParams(name, values.dtype) for name, values in extra.items()])
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = EAST, NORTH, UP
    cloud.intensity = [3, 4, 5]
    cloud.red, cloud.green, cloud.blue = np.array([[65535, 0, 0]] * 3).T
    for name, values in extra.items():
        cloud[name] = values
    buffer = io.BytesIO()
    cloud.write(buffer)
    return buffer.getvalue()


NAMED = {
    "text": TABLE.encode(),
    "npy": npy(structured()),
    "npz": npz(east=EAST, north=NORTH, up=UP, echo=ECHO, strength=np.full(3, 7, np.uint8)),
    "ply": ply(),
    "pcd": pcd(),
}


@pytest.mark.parametrize("format", NAMED)
def test_any_named_column_feeds_any_channel(format: str):
    cloud = read(NAMED[format], *PLACES, "intensity:echo")
    assert cloud.xyz.T.tolist() == [EAST.tolist(), NORTH.tolist(), UP.tolist()]
    assert cloud.intensity.tolist() == ECHO.tolist()
    assert cloud.columns == {"east": ["x"], "north": ["y"], "up": ["z"], "echo": ["intensity"], "strength": []}
    assert "strength" in cloud.extra


@pytest.mark.parametrize("format", NAMED)
def test_a_file_without_places_lists_its_columns(format: str):
    with pytest.raises(BadCloud) as raised:
        read(NAMED[format])
    assert raised.value.columns == ["east", "north", "up", "echo", "strength"]


def test_a_column_may_feed_several_channels_and_none():
    cloud = read(NAMED["ply"], *PLACES, "red:echo", "green:echo", "blue:echo", "intensity:_")
    assert cloud.rgb[:, 0].tolist() == cloud.rgb[:, 2].tolist() == [0, 0, 224]
    assert cloud.intensity is None
    assert cloud.columns["echo"] == ["red", "green", "blue"]


def test_the_scale_is_that_of_the_column_that_feeds():
    data = npz(coord=np.zeros((2, 3)), strength=np.array([0, 1.0]), echo=np.array([0, 4000], np.uint16))
    assert read(data).intensity_scale == 1
    assert read(data, "intensity:echo").intensity_scale == 4095
    assert read(data, "intensity:strength").intensity_scale == 1
    sweep = np.arange(10, dtype="<f4").tobytes()
    assert read(sweep, "intensity:ring", format="nuscenes").intensity_scale is None
    assert read(sweep, format="nuscenes").intensity_scale == 255


def test_dimensions_of_las_feed_channels():
    data = las(echo=ECHO, reflectance=np.array([7, 8, 9], np.uint16))
    cloud = read(data, "strength:echo", "red:_")
    assert cloud.intensity.tolist() == ECHO.tolist()
    assert cloud.intensity_scale == 4095
    assert cloud.rgb is None
    assert cloud.extra["reflectance"].tolist() == [7, 8, 9]
    assert cloud.columns["echo"] == ["intensity"]
    assert cloud.columns["x"] == ["x"]
    assert cloud.columns["intensity"] == []
    plain = read(data)
    assert plain.columns["intensity"] == ["intensity"]
    assert plain.columns["echo"] == []
    other = read(data, "nx:echo", "ny:echo", "nz:echo")
    assert other.intensity.tolist() == plain.intensity.tolist()
    assert other.rgb.tolist() == plain.rgb.tolist()
    assert other.xyz.tolist() == plain.xyz.tolist()


@pytest.mark.parametrize(
    "data",
    [npy(np.arange(15.0).reshape(3, 5)), b"0 1 2 3 4\n5 6 7 8 9\n", b"[[0,1,2,3,4],[5,6,7,8,9]]"],
)
def test_columns_without_names_go_by_their_place(data: bytes):
    with pytest.raises(BadCloud) as raised:
        read(data)
    assert raised.value.columns == ["1", "2", "3", "4", "5"]
    cloud = read(data, "x:5", "y:1", "z:2", "intensity:4")
    assert cloud.xyz[0].tolist() == [4, 0, 1]
    assert cloud.intensity[0] == 3


def test_a_truth_may_come_from_any_column():
    cloud = read(TABLE.encode(), *PLACES, "classification:echo")
    assert cloud.extra["classification"].tolist() == ECHO.tolist()


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (["intensity:echo", "x"], "give pairs only"),
        (["intensity:"], "'intensity:' without a column"),
        (["colour:echo"], "feeds 'colour'"),
        (["intensity:echo", "strength:up"], "intensity more than once"),
        (["x:_"], "leaves x out"),
    ],
)
def test_pairs_that_make_no_sense(columns: list[str], says: str):
    with pytest.raises(BadRequest, match=says):
        parse_wanted(columns)


@pytest.mark.parametrize("format", NAMED)
def test_a_column_that_is_not_there(format: str):
    with pytest.raises(BadRequest, match=r"names 'amplitude'.*echo"):
        read(NAMED[format], *PLACES, "intensity:amplitude")


def test_a_raw_sweep_has_no_columns_to_pair():
    with pytest.raises(UnsupportedFormat, match="does not say what its columns are"):
        read(bytes(60), "intensity:4", format="bin")


@pytest.mark.parametrize("length", [3, 17])
@pytest.mark.parametrize("format", NAMED)
def test_pairs_of_a_damaged_file_are_a_problem(format: str, length: int):
    with pytest.raises(Problem):
        read(NAMED[format][: len(NAMED[format]) // length], *PLACES, "intensity:echo")
