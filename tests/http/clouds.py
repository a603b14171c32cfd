"""The golden cloud of the test model as files of several formats."""

import io

import laspy
import numpy as np
from plyfile import PlyData, PlyElement

from tests.http.server import MODEL

FIELDS = ["x", "y", "z", "red", "green", "blue", "nx", "ny", "nz"]
GOLDEN = np.load(MODEL / "expected.npz")
LABELS = GOLDEN["label_fast"].astype(int)
LABELS_EXACT = GOLDEN["label_exact"].astype(int)
CLASSES = 20


def table(rows: slice = slice(None)) -> np.ndarray:
    """float64 (N, 9) in the order of FIELDS."""
    return np.hstack([GOLDEN[name][rows].astype(np.float64) for name in ("coord", "color", "normal")])


def json_cloud(rows: slice = slice(None)) -> dict:
    return {"points": table(rows).tolist(), "fields": FIELDS}


def npy(rows: slice = slice(None)) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, table(rows))
    return buffer.getvalue()


def npy_of(rows: list) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(rows))
    return buffer.getvalue()


def ply(rows: slice = slice(None)) -> bytes:
    columns = table(rows)
    kinds = ["f4"] * 3 + ["u1"] * 3 + ["f4"] * 3
    vertices = np.empty(len(columns), list(zip(FIELDS, kinds, strict=True)))
    for index, name in enumerate(FIELDS):
        vertices[name] = columns[:, index]
    buffer = io.BytesIO()
    PlyData([PlyElement.describe(vertices, "vertex")]).write(buffer)
    return buffer.getvalue()


def laz(rows: slice = slice(None)) -> bytes:
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.scales = [0.001] * 3
    header.offsets = [500_000.0, 5_000_000.0, 0.0]
    las = laspy.LasData(header)
    columns = table(rows)
    las.xyz = columns[:, :3] + header.offsets
    las.red, las.green, las.blue = (columns[:, 3:6] * 257).astype(np.uint16).T
    buffer = io.BytesIO()
    las.write(buffer, do_compress=True)
    return buffer.getvalue()
