import io
import struct

import laspy
import numpy as np
import pytest
from laspy.copc import Bounds

from app.clouds import copc, copc_table, formats, las, octree
from app.clouds.cloud import Cloud
from app.clouds.las_file import parse
from app.clouds.las_records import COPC_HIERARCHY
from app.errors import UnsupportedFormat
from tests.clouds.las_samples import las_data, patched, segmentation, to_bytes
from tests.survey.survey_files import las as geo_las

NUMBER = ("number", "uint32")


@pytest.fixture(autouse=True)
def small_nodes(monkeypatch):
    """Trees of some levels from few points."""
    monkeypatch.setattr(octree, "LEAF_POINTS", 200)
    monkeypatch.setattr(copc, "PART_POINTS", 1000)


def numbered(point_format=7, num_points=5000, **options):
    """A file whose points have their number in an extra dimension."""
    data = las_data(point_format, num_points, extra=[NUMBER], **options)
    data["number"] = np.arange(num_points)
    return data


def write(data, output="copc", answer=None):
    """A file as COPC: its bytes, and the warnings of the answer."""
    view = memoryview(data)
    cloud = formats.read(view)
    answer = answer or segmentation(len(cloud))
    return formats.write(output, cloud, answer, view), answer.meta.warnings


def reader(data):
    return laspy.CopcReader(io.BytesIO(data))


def xyz_of(points):
    return np.stack([points.x, points.y, points.z], axis=1)


def nodes_of(data):
    found = copc_table.nodes_of(parse(memoryview(data)))
    assert found is not None
    return found


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("point_format", [0, 1, 2, 3, 6, 7, 8])
def test_everything_but_the_class_is_kept(point_format, compressed):
    before = numbered(point_format)
    data = to_bytes(before, compressed)
    before = laspy.read(io.BytesIO(data))
    out, warnings = write(data)
    after = laspy.read(io.BytesIO(out))
    number = np.asarray(after["number"])
    assert np.array_equal(np.sort(number), np.arange(5000))
    assert np.array_equal(after.classification, np.array([2, 6, 9])[number % 3])
    for name in before.point_format.dimension_names:
        if name not in ("classification", "scan_angle_rank"):
            assert np.array_equal(np.asarray(before[name])[number], np.asarray(after[name])), name
    if point_format < 6:
        assert np.abs(before.scan_angle_rank[number] - np.asarray(after.scan_angle) * 0.006).max() <= 0.003
    assert after.header.point_format.id == {0: 6, 1: 6, 2: 7, 3: 7}.get(point_format, point_format)
    assert str(after.header.version) == "1.4"
    notes = [vlr.record_data_bytes() for vlr in before.vlrs if vlr.user_id in ("someone", "LASF_Projection")]
    assert notes == [vlr.record_data_bytes() for vlr in after.vlrs if vlr.user_id in ("someone", "LASF_Projection")]
    assert after.header.system_identifier == "a scanner"
    counts = np.bincount(after.return_number, minlength=16)[1:]
    assert np.array_equal(after.header.number_of_points_by_return, counts)
    assert after.header.global_encoding.wkt
    assert np.allclose([after.header.mins, after.header.maxs], [before.header.mins, before.header.maxs], atol=1e-9)
    assert copc.REORDERED in warnings
    assert any("became" in each for each in warnings) == (point_format < 6)


def test_the_frame_is_that_of_the_specification():
    data = to_bytes(numbered(6))
    out, _ = write(data)
    header_size, points_start, num_vlrs = struct.unpack_from("<HII", out, 94)
    assert (header_size, out[104]) == (375, 6 | 0x80)
    assert out[377:381] == b"copc"
    assert struct.unpack_from("<HH", out, 375 + 18) == (1, 160)
    center, half, spacing, root, size, least, greatest = (
        np.array(struct.unpack_from("<3d", out, 429)),
        *struct.unpack_from("<2d2Q2d", out, 453),
    )
    before = laspy.read(io.BytesIO(data))
    assert (before.xyz >= center - half).all()
    assert (before.xyz <= center + half).all()
    assert spacing == 2 * half / 128
    assert (least, greatest) == (before.gps_time.min(), before.gps_time.max())
    evlrs_start, num_evlrs = struct.unpack_from("<QI", out, 235)
    assert (root, size + root) == (evlrs_start + 60, len(out))
    assert num_evlrs == 1
    table = np.frombuffer(out, copc_table.ENTRY, size // 32, root)
    assert table["num_points"].sum() == 5000
    assert table["offset"][0] == points_start + 8
    assert np.array_equal(table["offset"][1:], (table["offset"] + table["num_bytes"])[:-1])
    assert struct.unpack_from("<I", out, 107) == (0,)
    assert num_vlrs == 5
    assert write(data)[0] == out


def test_queries_of_another_reader_give_the_right_points():
    before = numbered(7, 8000)
    out, _ = write(to_bytes(before))
    found = reader(out)
    assert np.array_equal(np.sort(found.query()["number"]), np.arange(8000))
    low, high = before.xyz.min(0), before.xyz.max(0)
    rng = np.random.default_rng(1)
    for _ in range(5):
        ends = np.sort(rng.uniform(low, high, (2, 3)), axis=0)
        inside = ((before.xyz >= ends[0]) & (before.xyz <= ends[1])).all(1)
        assert np.array_equal(np.sort(found.query(Bounds(*ends))["number"]), np.flatnonzero(inside))
    seen = []
    tree = nodes_of(out)
    for level in range(tree.keys[:, 0].max() + 1):
        points = found.query(level=range(level + 1))
        cells = np.floor((xyz_of(points) - (tree.center - tree.half)) / (tree.spacing / 2**level))
        seen.append(len(points))
        if level == 0:
            assert len(np.unique(cells, axis=0)) == len(points)  # no two of a cell
    assert seen == sorted(seen)
    assert len(found.query(resolution=tree.spacing)) < len(found.query(resolution=tree.spacing / 2))


@pytest.mark.parametrize("seed", range(3))
def test_every_point_lies_in_its_node(seed):
    before = numbered(6, 6000, seed=seed)
    before.X, before.Y, before.Z = (before.X // step for step in (1, 3, 700))
    out, _ = write(to_bytes(before))
    after, tree = laspy.read(io.BytesIO(out)), nodes_of(out)
    keys = np.repeat(tree.keys, tree.counts, axis=0)
    side = 2 * tree.half / 2.0 ** keys[:, :1]
    low = tree.center - tree.half + keys[:, 1:] * side
    assert (after.xyz >= low - 1e-7).all()
    assert (after.xyz <= low + side + 1e-7).all()
    parents = {(level - 1, *(place >> 1 for place in rest)) for level, *rest in tree.keys.tolist() if level}
    assert parents <= {tuple(key) for key in tree.keys.tolist()}
    assert (np.diff(tree.keys[:, 0]) >= 0).all()


@pytest.mark.parametrize(
    "xyz",
    [
        np.zeros((1, 3)),
        np.zeros((1000, 3)),
        np.stack([np.arange(1000.0), np.zeros(1000), np.zeros(1000)], axis=1),
        np.array([[0.0, 0.0, 0.0], [1e7, 1e7, 1.0]]).repeat(300, axis=0),
        np.array([[np.nan, 0.0, 0.0], [1.0, 2.0, 3.0]]),
    ],
)
def test_clouds_of_any_shape_become_copc(xyz):
    cloud = Cloud(xyz, "ply", rgb=np.full((len(xyz), 3), 7, np.uint8), extra={"number": np.arange(len(xyz))})
    out = las.write_copc(cloud, segmentation(len(xyz)), None)
    after = reader(out).query()
    number = np.asarray(after["number"])
    assert np.array_equal(np.sort(number), np.arange(len(xyz)))
    known = np.isfinite(xyz[number]).all(1)
    assert np.allclose(xyz_of(after)[known], xyz[number][known], atol=1e-2)
    again = formats.read(memoryview(out))
    assert np.array_equal(again.extra["number"], number)


def test_axes_with_scales_of_their_own():
    before = numbered(6, 3000)
    data = patched(to_bytes(before), 131, struct.pack("<3d", -0.01, 0.025, 1e-3))
    out, _ = write(bytes(data))
    after, tree = laspy.read(io.BytesIO(out)), nodes_of(out)
    assert np.array_equal(np.sort(after["number"]), np.arange(3000))
    assert (np.abs(after.xyz - tree.center) <= tree.half + 1e-9).all()


def test_copc_keeps_the_order_and_the_nodes_of_copc():
    out, _ = write(to_bytes(numbered(7)))
    again, warnings = write(out)
    assert copc.REORDERED not in warnings
    before, after = laspy.read(io.BytesIO(out)), laspy.read(io.BytesIO(again))
    assert np.array_equal(before["number"], after["number"])
    assert np.array_equal(nodes_of(out).keys, nodes_of(again).keys)
    assert nodes_of(out).half == nodes_of(again).half
    assert len(reader(again).query()) == 5000
    (info,) = (vlr for vlr in laspy.read(io.BytesIO(again)).vlrs if vlr.user_id == "copc")
    assert info.record_id == 1


@pytest.mark.parametrize("change", ["counts", "place", "pages"])
def test_a_table_that_does_not_fit_the_points_is_made_anew(change):
    out, _ = write(to_bytes(numbered(7)))
    root, size = struct.unpack_from("<2Q", out, 469)
    if change == "counts":
        out = bytes(patched(out, root + 28, struct.pack("<i", 1)))
    elif change == "place":
        out = bytes(patched(out, 469, struct.pack("<Q", 12)))
    else:  # a page that names itself
        out = bytes(patched(out, root + 16, struct.pack("<Qii", root, size, -1)))
    again, warnings = write(out)
    assert copc.REORDERED in warnings
    assert np.array_equal(np.sort(reader(again).query()["number"]), np.arange(5000))


def test_pages_of_nodes_are_read():
    """A table whose root page holds one node, and names a page for the others."""
    out, _ = write(to_bytes(numbered(7)))
    root, size = struct.unpack_from("<2Q", out, 469)
    first, rest = out[root : root + 32], out[root + 32 : root + size]
    start = len(out) - size + 64
    page = struct.pack("<4iQii", 1, 0, 0, 0, start, len(rest), -1)
    paged = out[: root - 40] + struct.pack("<Q", size + 32) + out[root - 32 : root] + first + page + rest
    paged = bytes(patched(paged, 477, struct.pack("<Q", 64)))
    assert np.array_equal(nodes_of(paged).keys, nodes_of(out).keys)
    assert copc.REORDERED not in write(paged)[1]


def test_waveforms_are_refused():
    with pytest.raises(UnsupportedFormat, match="output=laz"):
        write(to_bytes(las_data(4)))


def test_records_behind_the_points_are_kept():
    data = las_data(6, 1000)
    data.evlrs = laspy.vlrs.vlrlist.VLRList([laspy.VLR("someone", 9, "long", bytes(range(200)) * 500)])
    out, _ = write(to_bytes(data))
    kept = [evlr for evlr in laspy.read(io.BytesIO(out)).evlrs if evlr.user_id == "someone"]
    assert [evlr.record_data_bytes() for evlr in kept] == [bytes(range(200)) * 500]
    assert len(parse(memoryview(out)).find_all(COPC_HIERARCHY)) == 1
    again, _ = write(out)
    assert len(parse(memoryview(again)).find_all(COPC_HIERARCHY)) == 1


def test_fields_that_were_asked_for_go_along():
    answer = segmentation(5000)
    confidence = np.linspace(0, 1, 5000, dtype=np.float32)
    answer.fields = {"confidence": confidence}
    out, _ = write(to_bytes(numbered(6)), answer=answer)
    after = laspy.read(io.BytesIO(out))
    assert np.abs(after["confidence"] - confidence[after["number"]]).max() < 1e-3


def test_the_coordinate_system_of_keys_is_there_as_wkt_too():
    header = laspy.LasHeader(version="1.2", point_format=1)
    keys = struct.pack("<16H", 1, 1, 0, 3, 1024, 0, 1, 1, 3072, 0, 1, 25832, 3076, 0, 1, 9001)
    header.vlrs.append(laspy.VLR("LASF_Projection", 34735, "", keys))
    data = laspy.LasData(header)
    data.x, data.y, data.z = np.arange(10.0), np.arange(10.0), np.arange(10.0)
    out, warnings = write(to_bytes(data))
    after = laspy.read(io.BytesIO(out))
    assert after.header.global_encoding.wkt
    assert after.header.parse_crs().to_epsg() == 25832
    assert any(vlr.record_id == 34735 for vlr in after.header.vlrs)
    assert any("as WKT too" in each for each in warnings)
    assert formats.read(memoryview(out)).units.crs == formats.read(memoryview(to_bytes(data))).units.crs


def test_a_wkt_that_is_there_stays():
    out, warnings = write(geo_las(num_points=300))
    after = laspy.read(io.BytesIO(out))
    assert after.header.parse_crs().to_epsg() == 25832
    assert not any("WKT" in each for each in warnings)


def test_the_cube_holds_every_point_to_the_last_bit():
    rng = np.random.default_rng(0)
    for _ in range(300):
        raw = [rng.integers(-(2**31), 2**31, 5).astype(np.int32) for _ in range(3)]
        scale, offset = 1e-3 * rng.choice([1, -1], 3), rng.choice([0, 123456.789, 5e6], 3)
        tree, xyz = octree.build(raw, scale, offset), np.stack(raw, 1) * scale + offset
        assert (tree.center - tree.half <= xyz).all()
        assert (xyz <= tree.center + tree.half).all()
