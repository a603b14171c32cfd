import struct

import numpy as np
import pytest

from app.clouds import formats
from app.clouds.comments import units_in

US_FOOT = 1200 / 3937
ROWS = np.arange(30, dtype="<f4").reshape(10, 3)


def ply(*lines):
    head = "\n".join(["ply", "format binary_little_endian 1.0", *lines, "element vertex 10"])
    return head.encode() + b"\nproperty float x\nproperty float y\nproperty float z\nend_header\n" + ROWS.tobytes()


def pcd(*lines):
    head = "\n".join(["# .PCD v0.7", *lines, "VERSION 0.7", "FIELDS x y z", "SIZE 4 4 4", "TYPE F F F", "COUNT 1 1 1"])
    return head.encode() + b"\nWIDTH 10\nHEIGHT 1\nPOINTS 10\nDATA binary\n" + ROWS.tobytes()


def table(*lines):
    return "\n".join([*lines, *(",".join(f"{value:g}" for value in row) for row in ROWS)]).encode()


FILES = {
    "ply": lambda text: ply(f"comment {text}"),
    "obj_info": lambda text: ply(f"obj_info {text}"),
    "pcd": lambda text: pcd(f"# {text}"),
    "text": lambda text: table(f"# {text}"),
    "text header": lambda text: table(f"# {text}", "x,y,z"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crs: EPSG:2263", [US_FOOT] * 3),
        ("CRS EPSG:6434+6360", [US_FOOT] * 3),
        ("EPSG:32618+6360", [1, 1, US_FOOT]),
        ("epsg 2994", [0.3048] * 3),
        ("srs = +proj=utm +zone=18 +units=us-ft", [US_FOOT] * 3),
        ('wkt: LOCAL_CS["site",UNIT["foot",0.3048]]', [0.3048] * 3),
        ("units: us-ft", [US_FOOT] * 3),
        ("unit mm", [0.001] * 3),
        ("vertical_units: ft", [1, 1, 0.3048]),
    ],
)
def test_what_a_comment_states(kind, text, expected):
    cloud = formats.read(memoryview(FILES[kind](text)))
    assert [unit.metres for unit in cloud.units.axes] == pytest.approx(expected, rel=1e-9)
    assert not cloud.warnings
    np.testing.assert_array_equal(cloud.xyz, ROWS)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("text", ["made by hand", "units of nothing", "projection of points", "crs", "crs:", "epsg"])
def test_comments_that_state_nothing(kind, text):
    cloud = formats.read(memoryview(FILES[kind](text)))
    assert cloud.units is None
    assert not cloud.warnings


@pytest.mark.parametrize(
    ("text", "said"), [("crs: the one of the town", "cannot be read"), ("units: paces", "no unit")]
)
def test_a_statement_that_is_not_understood_is_told(text, said):
    cloud = formats.read(memoryview(ply(f"comment {text}")))
    assert said in cloud.warnings[0]
    assert not formats.read(memoryview(ply(f"comment {text}")), units="m").warnings


def test_a_unit_wins_over_a_system_and_the_first_of_each_counts():
    units = units_in(["crs: EPSG:2263", "units: ft", "units: m", "vertical units: m", "crs: EPSG:32618"])
    assert [unit.metres for unit in units.axes] == [0.3048, 0.3048, 1]
    assert units.crs == "NAD83 / New York Long Island (ftUS)"
    assert units_in(["units: deg"]).z.metres == 1


def test_many_comments_are_one_look_up():
    system = units_in(f"crs: made up {index}" for index in range(20_000))
    assert len(system.doubts) == 1


def test_bytes_that_look_like_comments_are_points():
    rows = struct.pack("<30f", *[0.0] * 30).replace(b"\0" * 17, b"\n# crs: EPSG:2263", 1)
    data = pcd()
    assert formats.read(memoryview(data[:-120] + rows)).units is None
