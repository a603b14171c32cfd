import subprocess
import sys
import tempfile

import numpy as np
import pytest

from app.clouds import e57, formats
from app.errors import BadCloud, NoRoom, TooLarge

pye57 = pytest.importorskip("pye57", reason="needs the extra e57")
libe57 = pye57.libe57
from tests.clouds.e57_samples import coordinates, double, integer, put_together, scaled, single, structure  # noqa: E402

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


def test_colors_and_intensity(tmp_path):
    rgb = RNG.integers(0, 256, (200, 3), dtype=np.uint8)
    intensity = RNG.uniform(0, 3000, 200).astype(np.float32)
    colors = {f"color{name}": rgb[:, i] for i, name in enumerate(("Red", "Green", "Blue"))}
    cloud = e57.read(file_of(tmp_path / "c.e57", (scan(intensity=intensity, **colors), {}), (scan(50), {})))
    np.testing.assert_array_equal(cloud.rgb[:200], rgb)
    np.testing.assert_array_equal(cloud.rgb[200:], 0)
    np.testing.assert_allclose(cloud.intensity[:200], intensity)
    assert cloud.intensity_scale == 4095
    assert "1 of 2 scans have no colors" in cloud.warnings[0]


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
    names = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
    return put_together(path, ({name: double(column) for name, column in zip(names, spherical.T, strict=True)}, {}))


XYZ = RNG.uniform(-10, 10, (40, 3))
UNIT = {"x": 0.0, "y": 0.0, "z": 0.0, "w": 0.0}


@pytest.mark.parametrize(
    ("pose", "moved", "told"),
    [
        ({"rotation": structure(**UNIT), "translation": structure(x=1, y=2, z=3)}, [1, 2, 3], "rotation of length 0"),
        ({"rotation": structure(**UNIT | {"w": 7})}, [0, 0, 0], None),
        ({"rotation": structure(x=0, y=0, z=0)}, [0, 0, 0], "a rotation that is not 4 numbers"),
        ({"translation": structure(x=1, y=2)}, [0, 0, 0], "a translation that is not 3 numbers"),
        ({"translation": structure(x=1, y=2, z=lambda image: libe57.IntegerNode(image, 3))}, [1, 2, 3], None),
        ({"rotation": structure(**UNIT | {"w": 1e-200})}, [0, 0, 0], "rotation of length 0"),
        ({"rotation": lambda image: libe57.FloatNode(image, 1.0)}, [0, 0, 0], "a rotation that is not 4 numbers"),
        ({}, [0, 0, 0], None),
    ],
)
def test_poses_that_are_none(tmp_path, pose, moved, told):
    data = put_together(tmp_path / "p.e57", (coordinates(XYZ), {"pose": structure(**pose)}))
    cloud = formats.read(data)
    np.testing.assert_allclose(cloud.xyz, XYZ + moved, atol=1e-12)
    assert [told in warning for warning in cloud.warnings] == ([True] if told else [])


def test_a_pose_that_is_a_number(tmp_path):
    cloud = formats.read(put_together(tmp_path / "p.e57", (coordinates(XYZ), {"pose": libe57.FloatNode})))
    assert np.array_equal(cloud.xyz, XYZ)
    assert cloud.warnings == ["Scan 0 has a pose that is no rotation and translation: taken as none."]


def test_normals_are_read_and_turned_with_their_scan(tmp_path):
    normals = RNG.normal(size=(40, 3))
    fields = coordinates(XYZ) | {f"nor:normal{axis}": single(normals[:, i]) for i, axis in enumerate("XYZ")}
    turn = structure(w=TURN[0], x=TURN[1], y=TURN[2], z=TURN[3])
    data = put_together(
        tmp_path / "n.e57", (fields, {"pose": structure(rotation=turn)}), (fields, {}), (coordinates(XYZ), {})
    )
    cloud = formats.read(data)
    turned = np.stack([-normals[:, 1], normals[:, 0], normals[:, 2]], axis=1)
    np.testing.assert_allclose(cloud.normals[:40], turned, atol=1e-6)
    np.testing.assert_allclose(cloud.normals[40:80], normals, atol=1e-6)
    assert np.isnan(cloud.normals[80:]).all()
    assert cloud.warnings == ["1 of 3 scans have no normals; it is nan there."]
    assert cloud.columns["nx"] == ["nx"]
    assert formats.read(data, columns=("nx:z",)).normals[0, 0] == np.float32(cloud.xyz[0, 2])


def test_every_field_of_numbers_is_kept_in_its_type_and_can_be_named(tmp_path):
    def text(image):
        return libe57.StringNode(image, "")

    fields = coordinates(XYZ) | {
        "rowIndex": integer(np.arange(40), 0, 40),
        "columnIndex": integer(np.arange(40) + 300, 0, 70_000),
        "returnIndex": integer(np.arange(40) % 3, 0, 7),
        "returnCount": integer(np.full(40, 3), 0, 7),
        "own:signed": integer(np.arange(40) - 20, -100, 100),
        "own:wide": integer(np.arange(40) + 2**40, 0, 2**50),
        "own:scaled": scaled(np.arange(40) * 0.25, 0.25),
        "timeStamp": double(np.arange(40) / 8),
        "own:single": single(np.arange(40) / 4),
    }
    cloud = formats.read(put_together(tmp_path / "k.e57", (fields, {})))
    for name, (values, _) in fields.items():
        if not name.startswith("cartesian"):
            np.testing.assert_array_equal(cloud.extra[name], values, err_msg=name)
    types = {name: values.dtype.str[1:] for name, values in cloud.extra.items()}
    assert (types["rowIndex"], types["columnIndex"]) == ("i1", "i8")
    assert (types["own:signed"], types["own:wide"], types["own:single"]) == ("i1", "i8", "f4")
    np.testing.assert_array_equal(cloud.extra["return_number"], np.arange(40) % 3 + 1)
    np.testing.assert_array_equal(cloud.extra["number_of_returns"], 3)
    data = put_together(tmp_path / "k.e57", (fields, {}))
    np.testing.assert_array_equal(
        formats.read(data, columns=("intensity:own:scaled",)).intensity, np.arange(40, dtype=np.float32) / 4
    )


def test_fields_that_only_some_scans_have(tmp_path):
    first = coordinates(XYZ) | {"rowIndex": integer(np.arange(40), 0, 40), "own:height": single(np.ones(40))}
    second = coordinates(XYZ) | {"rowIndex": integer(np.arange(40) + 500, 0, 1000)}
    cloud = formats.read(put_together(tmp_path / "f.e57", (first, {}), (second, {})))
    np.testing.assert_array_equal(cloud.extra["rowIndex"], np.r_[:40, 500:540])
    np.testing.assert_array_equal(cloud.extra["own:height"], np.r_[np.ones(40), np.full(40, np.nan)])
    assert cloud.warnings == ["1 of 2 scans have no own:height; it is nan there."]


def test_a_scan_without_coordinates_costs_no_other(tmp_path):
    lame = {"intensity": single(np.arange(40))}
    both = put_together(tmp_path / "l.e57", (lame, {}), (coordinates(XYZ), {}))
    cloud = formats.read(both)
    np.testing.assert_allclose(cloud.xyz, XYZ)
    np.testing.assert_array_equal(cloud.extra["scan"], 1)
    assert "Scan 0 of the E57 file has no coordinates, only intensity: its 40 points were left out." in cloud.warnings
    with pytest.raises(BadCloud, match="No scan of the E57 file has coordinates; the fields are intensity"):
        formats.read(put_together(tmp_path / "l.e57", (lame, {})))


def test_values_marked_as_invalid(tmp_path):
    state = (np.arange(40) % 4 == 1).astype(int)
    colors = {f"color{name}": integer(np.arange(40) + 100, 0, 255) for name in ("Red", "Green", "Blue")}
    fields = coordinates(XYZ) | colors | {"intensity": single(np.arange(40))}
    fields |= {"isColorInvalid": integer(state, 0, 1), "isIntensityInvalid": integer(state, 0, 1)}
    cloud = formats.read(put_together(tmp_path / "v.e57", (fields, {})))
    np.testing.assert_array_equal(cloud.rgb[:, 0], np.where(state, 0, np.arange(40) + 100))
    np.testing.assert_array_equal(cloud.intensity, np.where(state, np.nan, np.arange(40)))
    assert cloud.warnings == [
        "Colors marked invalid in the file: 10; they became black.",
        "Intensities marked invalid in the file: 10; they became NaN.",
    ]


@pytest.mark.parametrize(
    ("limits", "values", "expected"),
    [
        ({}, np.arange(40) * 6, np.arange(40) * 6),
        ({"colorRedMaximum": 255}, np.arange(40), np.arange(40)),
        ({"colorRedMaximum": 65535}, np.arange(40) * 257, np.arange(40)),
        ({"colorRedMaximum": 0}, np.arange(40) * 6, np.arange(40) * 6),
    ],
)
def test_limits_of_colors_that_are_missing_or_wrong(tmp_path, limits, values, expected):
    fields = coordinates(XYZ) | {f"color{name}": single(values) for name in ("Red", "Green", "Blue")}
    cloud = formats.read(put_together(tmp_path / "c.e57", (fields, {"colorLimits": structure(**limits)})))
    np.testing.assert_array_equal(cloud.rgb[:, 0], expected)


def test_bytes_after_the_end_are_left_out(tmp_path):
    data = bytes(put_together(tmp_path / "t.e57", (coordinates(XYZ), {})))
    cloud = formats.read(memoryview(data + b"garbage"))
    np.testing.assert_allclose(cloud.xyz, XYZ)
    assert cloud.warnings == ["7 bytes follow the end that the E57 file states: left out."]


def test_problems_are_told_in_words_of_our_own(tmp_path):
    data = bytes(put_together(tmp_path / "w.e57", (coordinates(XYZ), {})))
    with pytest.raises(BadCloud, match=f"says that it has {len(data):,} bytes, {len(data) - 1:,} are all there is"):
        formats.read(memoryview(data[:-1]))
    broken = bytearray(data)
    broken[60] ^= 0xFF
    with pytest.raises(BadCloud, match="checksums do not agree"):
        formats.read(memoryview(broken))


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
