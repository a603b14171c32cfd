"""A small sound file of every format that is read, in each of its encodings, and ways to damage it."""

import io
import json
import pickle
import struct
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import laspy
import numpy as np

from app.clouds import formats
from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from tests.clouds.cloud_samples import npy, npz, zipped
from tests.clouds.las_samples import descriptors, file_with, las_bytes, las_data, to_bytes

POINTS = 200
CLASSES = [ClassInfo(0, "ground", (120, 90, 60), 2), ClassInfo(1, "building", (200, 0, 0), 6)]
ODD = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1]
TOKENS = [b"nan", b"inf", b"-1", b"1e400", b"99999999999999999999", b"\0", b"\r\n", b",", b"[", b"{", b'"', b"<", b" "]


@dataclass(frozen=True)
class Seed:
    """A file of ``format`` in the encoding ``name``; ``columns`` where a request has to name them."""

    name: str
    format: str
    data: bytes
    columns: tuple[str, ...] | None = None


def seeds() -> list[Seed]:
    """At least one of every key of READERS."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(0, 50, (POINTS, 3))
    rgb = rng.integers(0, 256, (POINTS, 3)).astype(np.uint8)
    names = ("x", "y", "z", "red", "green", "blue")
    table = np.hstack([xyz, rgb])
    rows = [" ".join(f"{value:.6g}" for value in row) for row in table]
    structured = np.zeros(POINTS, [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("intensity", "<u2")])
    sweep = rng.uniform(0, 1, (POINTS, 6)).astype("<f4")
    found = [Seed(f"las {kind}", "las", las_bytes(point_format=kind, num_points=POINTS)) for kind in (1, 3, 7)]
    found += [Seed(f"laz {kind}", "laz", las_bytes(True, point_format=kind, num_points=POINTS)) for kind in (1, 3, 7)]
    records = [descriptors(("amplitude", 3, 0), ("pair", 13, 0)), descriptors(("label", 2, 0), ("", 0, 1))]
    found += [
        Seed(
            "las of two programs", "las", bytes(file_with(rng.integers(0, 256, (POINTS, 8), dtype=np.uint8), *records))
        )
    ]
    found += [Seed("copc", "laz", _copc())]
    found += [Seed(f"{kind} of columns", kind, _las_of_columns(kind, xyz)) for kind in ("las", "laz")]
    found += [Seed(f"las in {kind}", "las", data) for kind, data in _in_feet().items()]
    found += [_written("ply", xyz, rgb), Seed("ply ascii", "ply", _ply(rows))]
    found += [_written("pcd", xyz, rgb), Seed("pcd ascii", "pcd", _pcd("ascii", "\n".join(rows).encode()))]
    found += [Seed("pcd compressed", "pcd", _pcd("binary_compressed", _literal_lzf(table.astype("<f4").T.tobytes())))]
    found += [Seed("e57", "e57", _e57(xyz)), Seed("e57 of every field", "e57", _e57_of_every_field(xyz, rgb))]
    found += [Seed("npy", "npy", npy(table), names), Seed("npy structured", "npy", npy(structured))]
    folder = {"scene/coord.npy": npy(xyz), "scene/color.npy": npy(rgb)}
    found += [Seed("npz", "npz", npz(coord=xyz, color=rgb))]
    found += [Seed("npz folder", "npz", zipped(folder, zipfile.ZIP_STORED))]
    found += [Seed(f"pth {kind}", "pth", data) for kind, data in _scenes(xyz, rgb).items()]
    found += [Seed("ptx", "ptx", _ptx(rows[: POINTS // 2]) + _ptx(rows[POINTS // 2 :]))]
    holes = ["" if i % 7 == 0 else "nan(ind)" if i % 11 == 0 else str(i) for i in range(POINTS)]
    holed = [f"{row.replace(' ', ';')};{hole};oak" for row, hole in zip(rows, holes, strict=True)]
    holed = ["Trees of the park", "x;y;z;red;green;blue;intensity;name", *holed]
    found += [Seed("text holed", "text", "\n".join(holed).encode())]
    found += [Seed("text utf-16", "text", "\n".join(holed).replace(".", ",").encode("utf-16"))]
    found += [Seed("text", "text", "\n".join(rows).encode(), names), Seed("csv", "text", _csv(rows))]
    found += [Seed("json", "json", json.dumps({"points": table.tolist(), "fields": names}).encode())]
    found += [Seed("bin", "bin", sweep.tobytes(), names), Seed("kitti", "kitti", sweep[:, :4].tobytes())]
    found += [Seed("nuscenes", "nuscenes", sweep[:, :5].tobytes()), Seed("xyzrgb", "xyzrgb", sweep.tobytes())]
    return found


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """``data`` with one to four faults: bits, odd numbers, cuts, repetitions, tokens, mostly near its beginning."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        reach = len(out) if rng.random() < 0.5 else min(len(out), 500)
        at = int(rng.integers(0, reach + 1))
        kind = rng.integers(0, 7)
        length = int(rng.integers(1, 65))
        if kind == 0 and at < len(out):
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[at : at + 1] = bytes([rng.integers(0, 256)])
        elif kind == 2:
            size = int(rng.choice([1, 2, 4, 8]))
            number = ODD[rng.integers(0, len(ODD))] & ((1 << 8 * size) - 1)
            out[at : at + size] = number.to_bytes(size, "little")
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length] * int(rng.integers(1, 20))
        elif kind == 5:
            token = TOKENS[rng.integers(0, len(TOKENS))]
            out[at : at + len(token)] = token
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def labelled(num_points: int) -> Segmentation:
    """An answer for a cloud of so many points."""
    return Segmentation(np.arange(num_points, dtype=np.int32) % 2, SegmentationMeta(CLASSES, model="m"))


def _written(format: str, xyz: np.ndarray, rgb: np.ndarray) -> Seed:
    cloud = Cloud(xyz.copy(), "npy", rgb=rgb.copy())
    return Seed(f"{format} binary", format, formats.write(format, cloud, labelled(len(xyz))))


def _copc() -> bytes:
    source = memoryview(las_bytes(point_format=7, num_points=POINTS))
    return formats.write("copc", formats.read(source), labelled(POINTS), source)


def _scenes(xyz: np.ndarray, rgb: np.ndarray) -> dict[str, bytes]:
    """A scene as Pointcept stores it, in each of the containers."""
    import torch

    scene = {
        "coord": xyz.astype("f4"),
        "color": rgb,
        "scene_id": "a",
        "segment": torch.zeros(len(xyz), dtype=torch.int16),
    }
    files = {"zip": io.BytesIO(), "stream": io.BytesIO()}
    torch.save(scene, files["zip"])
    torch.save(scene, files["stream"], _use_new_zipfile_serialization=False)
    arrays = {name: value for name, value in scene.items() if name != "segment"}
    return {name: file.getvalue() for name, file in files.items()} | {"pickle": pickle.dumps(arrays, 5)}


def _ptx(rows: list[str]) -> bytes:
    header = [f"{len(rows)}", "1", "0 0 0", "1 0 0", "0 1 0", "0 0 1", "1 0 0 0", "0 1 0 0", "0 0 1 0", "5 6 7 1"]
    return "\n".join([*header, *rows, ""]).encode()


def _las_of_columns(format: str, xyz: np.ndarray) -> bytes:
    """What is written of a cloud with columns that LAS has no field for, or a narrow one."""
    count = np.arange(len(xyz))
    extra = {"height above": xyz[:, 2] * 2, "user_data": count * 3, "scalar_Point_Source_ID": count.astype(np.uint16)}
    cloud = Cloud(xyz.copy(), "npy", intensity=xyz[:, 0].astype(np.float32), normals=np.float32(xyz), extra=extra)
    return formats.write(format, cloud, labelled(len(xyz)))


def _ply(rows: list[str]) -> bytes:
    kinds = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
    header = ["ply", "format ascii 1.0", f"element vertex {len(rows)}", *(f"property {kind}" for kind in kinds)]
    return "\n".join([*header, "comment crs: EPSG:2263", "end_header", *rows, ""]).encode()


def _in_feet() -> dict[str, bytes]:
    """LAS whose coordinate system says feet by GeoTIFF keys and by WKT."""
    keys = np.array([[1, 1, 0, 4], [1024, 0, 1, 1], [3076, 0, 1, 32767], [3077, 34736, 1, 0], [3073, 34737, 6, 0]])
    wkt = b'LOCAL_CS["site",UNIT["US survey foot",0.304800609601219]]'
    records = {
        "keys": {34735: keys.astype("<u2").tobytes(), 34736: struct.pack("<d", 0.3048), 34737: b"(ftUS)|"},
        "WKT": {2112: wkt},
    }
    made = {}
    for kind, of_kind in records.items():
        las = las_data(point_format=1, num_points=POINTS, vlrs=False)
        las.header.vlrs.extend(laspy.VLR("LASF_Projection", number, "", data) for number, data in of_kind.items())
        made[kind] = to_bytes(las)
    return made


def _pcd(encoding: str, body: bytes) -> bytes:
    header = ["VERSION 0.7", "FIELDS x y z r g b", "SIZE 4 4 4 4 4 4", "TYPE F F F F F F", "COUNT 1 1 1 1 1 1"]
    header += [f"WIDTH {POINTS}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {POINTS}", f"DATA {encoding}", ""]
    return "\n".join(header).encode() + body


def _literal_lzf(data: bytes) -> bytes:
    """LZF that holds ``data`` as it is: runs of up to 32 bytes, each after its length less one."""
    runs = [data[start : start + 32] for start in range(0, len(data), 32)]
    packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
    return struct.pack("<II", len(packed), len(data)) + packed


def _e57(xyz: np.ndarray) -> bytes:
    import pye57

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.e57"
        with pye57.E57(str(path), mode="w") as file:
            file.write_scan_raw({f"cartesian{axis}": xyz[:, i].copy() for i, axis in enumerate("XYZ")})
        return path.read_bytes()


def _e57_of_every_field(xyz: np.ndarray, rgb: np.ndarray) -> bytes:
    """Two scans: one with normals, colors, times and a pose of no rotation, one with spherical coordinates."""
    from tests.clouds.e57_samples import coordinates, double, integer, put_together, scaled, single, structure

    half = len(xyz) // 2
    count = np.arange(half)
    fields = coordinates(xyz[:half]) | {f"nor:normal{axis}": single(xyz[:half, i]) for i, axis in enumerate("XYZ")}
    fields |= {f"color{name}": integer(rgb[:half, i], 0, 255) for i, name in enumerate(("Red", "Green", "Blue"))}
    fields |= {
        "intensity": scaled(count * 0.5, 0.5),
        "timeStamp": double(count),
        "returnIndex": integer(count % 3, 0, 3),
    }
    fields |= {"returnCount": integer(count % 3 + 1, 0, 4), "cartesianInvalidState": integer(count % 3, 0, 2)}
    pose = structure(rotation=structure(w=0, x=0, y=0, z=0), translation=structure(x=1, y=2, z=3))
    names = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
    other = {name: double(values[half:] / 50) for name, values in zip(names, xyz.T, strict=True)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.e57"
        return bytes(put_together(path, (fields, {"pose": pose}), (other, {})))


def _csv(rows: list[str]) -> bytes:
    return "\n".join(["x,y,z,red,green,blue", *(row.replace(" ", ",") for row in rows)]).encode()
