"""Estimates of memory against what readers and writers take, in processes of their own."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import lzf
import numpy as np
import pytest

from app.clouds import formats
from app.errors import TooLarge
from tests.clouds.las_samples import las_bytes, las_data

N = 250_000
SLACK_BYTES = 12 << 20  # what libraries take once
MOST_TIMES = 8  # an estimate above that would refuse what fits
RNG = np.random.default_rng(0)
XYZ = RNG.uniform(0, 100, (N, 3))
RGB = RNG.integers(0, 256, (N, 3))
TABLE = np.hstack([XYZ, RGB])
ROW = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("intensity", "<f4"), ("a", "<f8")])


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def text_of(table, separator=" ", format="%.3f"):
    file = io.BytesIO()
    np.savetxt(file, table, fmt=format, delimiter=separator)
    return file.getvalue()


def npz_of(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def las(compressed, point_format):
    file = io.BytesIO()
    las_data(point_format, N, extra=[("amplitude", "float32"), ("rank", "uint16")]).write(file, do_compress=compressed)
    return file.getvalue()


def ply(encoding, rows):
    properties = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue", "float quality"]
    lines = ["ply", f"format {encoding} 1.0", f"element vertex {N}", *(f"property {each}" for each in properties)]
    return "\n".join([*lines, "end_header", ""]).encode() + rows


def pcd(encoding, body):
    lines = ["VERSION .7", "FIELDS x y z rgb intensity a", "SIZE 4 4 4 4 4 8", "TYPE F F F U F F", "COUNT 1 1 1 1 1 1"]
    return "\n".join([*lines, f"WIDTH {N}", "HEIGHT 1", f"POINTS {N}", f"DATA {encoding}", ""]).encode() + body


def records():
    rows = np.zeros(N, ROW)
    rows["x"], rows["y"], rows["z"] = XYZ.T
    rows["rgb"], rows["intensity"], rows["a"] = RGB[:, 0] << 16, 5, 1
    return rows


def missing():
    lines = text_of(XYZ, ",").splitlines()
    return b"\n".join([b"x,y,z,quality", *(line + (b"," if i % 3 else b",1.5") for i, line in enumerate(lines)), b""])


def ptx():
    lines = [f"{N}", "1", *["0 0 0"], *["1 0 0", "0 1 0", "0 0 1"], *["1 0 0 0", "0 1 0 0", "0 0 1 0", "0 0 0 1"], ""]
    rows = text_of(np.hstack([XYZ + 1, XYZ[:, :1] / 100, RGB]), format=["%.3f"] * 4 + ["%d"] * 3)
    return "\n".join(lines).encode() + rows


def e57(path):
    pye57 = pytest.importorskip("pye57", reason="needs the extra e57")
    scan = {f"cartesian{axis}": values for axis, values in zip("XYZ", XYZ.T, strict=True)}
    scan |= {
        f"color{name}": values.astype(np.uint8) for name, values in zip(("Red", "Green", "Blue"), RGB.T, strict=True)
    }
    with pye57.E57(str(path), mode="w") as file:
        file.write_scan_raw(scan | {"intensity": XYZ[:, 0]}, rotation=np.array([1.0, 0, 0, 0]), translation=np.ones(3))
        file.write_scan_raw(scan)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """By file: estimates and what was taken, for reading, for the Cloud and for every output."""
    folder = tmp_path_factory.mktemp("files")
    rows = np.zeros(N, "<f4, <f4, <f4, u1, u1, u1, <f4")
    rows["f0"], rows["f1"], rows["f2"] = XYZ.T
    block = b"".join(records()[name].tobytes() for name in ROW.names)
    packed = lzf.compress(block)
    compressed = np.array([len(packed), len(block)], "<u4").tobytes() + packed
    files = {
        "columns.npy": npy(TABLE),
        "three.npy": npy(XYZ),
        "floats.npy": npy(XYZ.astype("<f4")),
        "structured.npy": npy(records()),
        "sample.npz": npz_of(coord=XYZ.astype("<f4"), color=RGB.astype("u1"), normal=np.zeros((N, 3), "<f4")),
        "further.npz": npz_of(coord=XYZ, **{f"e{index}": np.zeros(N) for index in range(20)}),
        "single.npz": npz_of(cloud=TABLE),
        "scene.pkl": pickle.dumps({"coord": XYZ.astype("<f4"), "color": RGB.astype("u1"), "extra": XYZ}),
        "wide.txt": text_of(XYZ).decode().encode("utf-16"),
        "scans.ptx": ptx(),
        "one.las": las(False, 3),
        "seven.las": las(False, 7),
        "one.laz": las(True, 1),
        "seven.laz": las(True, 7),
        "binary.ply": ply("binary_little_endian", rows.tobytes()),
        "ascii.ply": ply(
            "ascii", text_of(np.hstack([XYZ, RGB, XYZ[:, :1]]), format=["%.3f"] * 3 + ["%d"] * 3 + ["%.3f"])
        ),
        "binary.pcd": pcd("binary", records().tobytes()),
        "compressed.pcd": pcd("binary_compressed", compressed),
        "ascii.pcd": pcd("ascii", text_of(np.hstack([XYZ, RGB]), format=["%.3f"] * 3 + ["%d"] * 3)),
        "plain.xyz": text_of(XYZ),
        "short.xyz": b"1 2 3\n" * N,
        "header.csv": b"x,y,z,red,green,blue,quality\n" + text_of(np.hstack([TABLE, XYZ[:, :1]]), ","),
        "missing.csv": missing(),
        "points.json": json.dumps({"points": XYZ.round(3).tolist()}).encode(),
        "short.json": b"[" + b",".join([b"[1,2,3]"] * N) + b"]",
        "sweep.bin": RNG.uniform(0, 9, (N, 5)).astype("<f4").tobytes(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    e57(folder / "scans.e57")
    root = Path(__file__).parents[2]
    command = [sys.executable, str(Path(__file__).with_name("peak.py")), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = {name: told for line in done.stdout.splitlines() if line for name, told in json.loads(line).items()}
    assert set(found) == {*files, "scans.e57"}, done.stderr
    return found


@pytest.mark.slow
def test_estimates_are_not_below_what_is_taken(measured):
    low = [
        (name, what, stated, taken)
        for name, told in measured.items()
        for what, (stated, taken) in told.items()
        if what != "points" and stated + SLACK_BYTES < taken
    ]
    assert not low


@pytest.mark.slow
def test_estimates_are_not_far_above_what_is_taken(measured):
    high = [
        (name, what, stated, taken)
        for name, told in measured.items()
        for what, (stated, taken) in told.items()
        if what in ("read", "cloud") and stated > MOST_TIMES * taken + SLACK_BYTES
    ]
    assert not high


@pytest.mark.slow
def test_points_are_counted_before_they_are_read(measured):
    for name, told in measured.items():
        stated, taken = told["points"]
        assert taken <= stated <= 1.1 * taken, name


def test_columns_that_nobody_wants_are_neither_unpacked_nor_counted():
    further = {f"e{index}": np.zeros(N) for index in range(20)}
    data = memoryview(npz_of(coord=XYZ, strength=XYZ[:, 0], classification=RGB[:, 0], **further))
    broken = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo("e7.npy").header_offset
    broken[start + 300 : start + 340] = bytes(40)  # which only unpacking finds
    kept = formats.read(memoryview(broken), keep=())
    assert set(kept.extra) == {"classification"}
    assert kept.intensity is not None
    assert list(kept.columns) == ["x", "y", "z", "strength", "classification", *further]
    few, all_of_it = formats.reading_needs(data, keep=("e3",)), formats.reading_needs(data)
    assert few.work_bytes < 0.7 * all_of_it.work_bytes
    assert few.cloud_bytes < 0.7 * all_of_it.cloud_bytes
    assert set(formats.read(data, keep=("e3",)).extra) == {"classification", "e3"}
    assert set(formats.read(data).extra) == {"classification", *further}
    bound = formats.read(data, columns=("intensity:e5",), keep=())
    assert bound.intensity is not None
    assert not bound.intensity.any()


@pytest.mark.parametrize(
    ("output", "is_kept"),
    [("", False), ("json", False), ("las", False), ("laz", False), ("copc", False), ("ply", True)],
)
def test_columns_that_nobody_wants_are_kept_for_answers_that_are_made_of_them(output, is_kept):
    data = memoryview(las_bytes(True, point_format=6))
    how = {"keep": (), "output": output}
    assert ("gps_time" in formats.read(data, **how).extra) == is_kept
    assert ("gps_time" in formats.read(data, **how | {"keep": ("gps_time",)}).extra) is True
    assert "gps_time" in formats.read(data, **how | {"keep": None}).extra
    assert "classification" in formats.read(data, **how).extra
    needed = formats.reading_needs(data, keep=None if is_kept else ())
    assert formats.reading_needs(data, **how) == needed
    head = ply("ascii", b"1 2 3 4 5 6 7\n").replace(b"element vertex %d" % N, b"element vertex 1")
    assert ("quality" in formats.read(memoryview(head), **how).extra) == (output in ("las", "laz", "copc", "ply"))


def test_more_points_than_are_taken_are_too_many_at_once():
    with pytest.raises(TooLarge):
        formats.reading_needs(memoryview(npy(XYZ)), max_points=N - 1)


@pytest.mark.parametrize(
    "data", [b"LASF" + bytes(400), b"ply\nformat ascii 1.0\nend_header\n", b"PK\x03\x04" + bytes(90)]
)
def test_damage_is_left_to_the_reader(data):
    assert formats.reading_needs(memoryview(data), format=None).work_bytes == 0
