import subprocess
import sys
import tempfile

import numpy as np
import pytest

from app.clouds import e57, formats
from app.errors import BadCloud, NoRoom, TooLarge

pye57 = pytest.importorskip("pye57", reason="needs the extra e57")
libe57 = pye57.libe57

RNG = np.random.default_rng(0)
TURN = np.array([np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)])  # a quarter turn about z, as w x y z


def scan(num_points=200, **fields):
    data = {f"cartesian{axis}": RNG.uniform(-10, 10, num_points) for axis in "XYZ"}
    return data | fields


def file_of(path, *scans):
    """The bytes of an E57 file with ``scans``, each the data and the pose of one."""
    with pye57.E57(str(path), mode="w") as file:
        for data, pose in scans:
            file.write_scan_raw(data, **pose)
    return memoryview(path.read_bytes())


def xyz_of(data):
    return np.stack([data[f"cartesian{axis}"] for axis in "XYZ"], axis=1)


def test_one_scan_with_a_pose(tmp_path):
    given = scan(50)
    data = file_of(tmp_path / "one.e57", (given, {"rotation": TURN, "translation": np.array([1.0, 2.0, 3.0])}))
    xyz = xyz_of(given)
    turned = np.stack([1 - xyz[:, 1], 2 + xyz[:, 0], 3 + xyz[:, 2]], axis=1)
    np.testing.assert_allclose(formats.read(data).xyz, turned, atol=1e-5)


def test_two_scans_with_poses(tmp_path):
    first, second = scan(200), scan(100)
    data = file_of(
        tmp_path / "two.e57",
        (first, {}),
        (second, {"rotation": TURN, "translation": np.array([600_000.0, 6_800_000.0, 5.0])}),
    )
    cloud = e57.read(data)
    expected = xyz_of(second)
    turned = np.stack([600_000 - expected[:, 1], 6_800_000 + expected[:, 0], 5 + expected[:, 2]], axis=1)
    assert cloud.format == "e57"
    np.testing.assert_allclose(cloud.xyz[:200], xyz_of(first), atol=1e-5)
    np.testing.assert_allclose(cloud.xyz[200:], turned, atol=1e-5)
    np.testing.assert_array_equal(cloud.extra["scan"], np.repeat([0, 1], [200, 100]))
    assert cloud.rgb is None
    assert cloud.intensity is None


def test_nothing_is_left_on_the_disk_by_a_reader_that_is_killed(tmp_path, monkeypatch):
    data = file_of(tmp_path / "a.e57", (scan(), {}))
    (tmp_path / "spool").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spool"))
    seen = []

    def look(self, *arguments, **options):
        seen.append(list((tmp_path / "spool").iterdir()))
        return opened(self, *arguments, **options)

    opened = pye57.E57.__init__
    monkeypatch.setattr(pye57.E57, "__init__", look)
    assert len(e57.read(data)) == 200
    assert seen == [[]]


def test_disk_without_room_is_no_fault_of_the_file(tmp_path, monkeypatch):
    data = file_of(tmp_path / "a.e57", (scan(), {}))
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    with pytest.raises(NoRoom, match="disk is full"):
        formats.read(data)
    monkeypatch.undo()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(NoRoom, match="POINTSERVE_SPOOL_DIR"):
        formats.read(data)


def test_colours_and_intensity(tmp_path):
    rgb = RNG.integers(0, 256, (200, 3), dtype=np.uint8)
    intensity = RNG.uniform(0, 3000, 200).astype(np.float32)
    colours = {f"color{name}": rgb[:, i] for i, name in enumerate(("Red", "Green", "Blue"))}
    cloud = e57.read(file_of(tmp_path / "c.e57", (scan(intensity=intensity, **colours), {}), (scan(50), {})))
    np.testing.assert_array_equal(cloud.rgb[:200], rgb)
    np.testing.assert_array_equal(cloud.rgb[200:], 0)
    np.testing.assert_allclose(cloud.intensity[:200], intensity)
    assert cloud.intensity_scale == 4095
    assert "1 of 2 scans have no rgb" in cloud.warnings[0]


def test_invalid_points_are_kept_without_coordinates(tmp_path):
    state = np.zeros(200, np.int8)
    state[[3, 50, 199]] = [1, 2, 2]
    data = scan(cartesianInvalidState=state)
    cloud = e57.read(file_of(tmp_path / "i.e57", (data, {})))
    assert len(cloud) == 200
    np.testing.assert_array_equal(np.isnan(cloud.xyz).all(axis=1), state != 0)
    np.testing.assert_allclose(cloud.xyz[state == 0], xyz_of(data)[state == 0], atol=1e-5)
    assert "invalid in the file: 3;" in cloud.warnings[0]


def spherical_file(path, spherical):
    """pye57 writes Cartesian scans only, so this one is put together from its nodes."""
    with pye57.E57(str(path), mode="w") as file:
        image = file.image_file
        names = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
        prototype = libe57.StructureNode(image)
        buffers = libe57.VectorSourceDestBuffer()
        columns = [np.ascontiguousarray(column) for column in spherical.T]
        for name, column in zip(names, columns, strict=True):
            prototype.set(name, libe57.FloatNode(image, 0.0, libe57.E57_DOUBLE))
            buffers.append(libe57.SourceDestBuffer(image, name, column, len(column), True, True))
        node = libe57.StructureNode(image)
        node.set("guid", libe57.StringNode(image, "{spherical}"))
        points = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
        node.set("points", points)
        file.data3d.append(node)
        writer = points.writer(buffers)
        writer.write(len(spherical))
        writer.close()
    return memoryview(path.read_bytes())


def test_spherical_coordinates_without_a_pose(tmp_path):
    spherical = np.array([[2.0, 0.0, 0.0], [2.0, np.pi / 2, 0.0], [2.0, 0.3, np.pi / 2], [1.0, np.pi, np.pi / 4]])
    cloud = e57.read(spherical_file(tmp_path / "s.e57", spherical))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(cloud.xyz, [[2, 0, 0], [0, 2, 0], [0, 0, 2], [-half, 0, half]], atol=1e-12)


def test_limit_no_scans_and_damage(tmp_path):
    data = bytes(file_of(tmp_path / "d.e57", (scan(), {})))
    with pytest.raises(TooLarge):
        e57.read(memoryview(data), max_points=199)
    with pytest.raises(BadCloud, match="no points"):
        e57.read(file_of(tmp_path / "none.e57"))
    for cut in (10, 48, 1000, len(data) // 2, len(data) - 1):
        with pytest.raises(BadCloud):
            e57.read(memoryview(data[:cut]))
    for at in (8, 50, 1500, len(data) - 2000):
        broken = bytearray(data)
        broken[at] ^= 0xFF
        with pytest.raises(BadCloud):
            e57.read(memoryview(broken))


def test_without_the_library_the_answer_names_the_remedy():
    program = (
        "import sys; sys.modules['pye57'] = None\n"
        "from app.clouds import e57\n"
        "from app.errors import UnsupportedFormat\n"
        "try: e57.read(memoryview(b'ASTM-E57'))\n"
        "except UnsupportedFormat as problem: print(problem.detail)\n"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"`{sys.executable} -m pip install pye57`" in child.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", None),
        ("EPSG:32618", None),
        ('LOCAL_CS["site",UNIT["US survey foot",0.304800609601219]]', "US survey feet"),
        ("EPSG:4326", "degrees"),
        ("nonsense", "cannot be read"),
    ],
)
def test_coordinates_are_metres_whatever_the_metadata_say(tmp_path, monkeypatch, text, said):
    node = libe57.StringNode
    monkeypatch.setattr(libe57, "StringNode", lambda image, value: node(image, value or text))
    cloud = formats.read(file_of(tmp_path / "one.e57", (scan(), {})))
    assert [(unit.metres, unit.source) for unit in cloud.units.axes] == [(1, "format")] * 3
    assert [said in warning for warning in cloud.warnings] == ([True] if said else [])
    in_feet = formats.read(file_of(tmp_path / "two.e57", (scan(), {})), units="ft")
    assert in_feet.units.x.metres == 0.3048
    assert "request was followed" in in_feet.warnings[0]
