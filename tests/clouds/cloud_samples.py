"""Clouds, answers and files that the tests of formats share."""

import io
import zipfile

import numpy as np

from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from app.clouds.fields import FIELDS

CLASSES = [ClassInfo(0, "ground", (120, 90, 60), 2), ClassInfo(1, "big, red building", (200, 0, 0), 6)]
XYZ = np.array([[500000.125, 6600000.25, 12.5], [500001.5, 6600001.5, -3.0], [500002.0, 6600002.0, 0.0]])
RGB = np.array([[0, 10, 20], [30, 40, 50], [255, 254, 253]], np.uint8)


def cloud(format: str = "text", **parts: object) -> Cloud:
    return Cloud(XYZ.copy(), format, **parts)


def segmentation(num_points: int = 3, **parts: object) -> Segmentation:
    labels = np.resize(np.array([0, 1, -1], np.int32), num_points)
    fields = {name: parts.pop(name) for name in FIELDS if name in parts}
    return Segmentation(
        labels, SegmentationMeta(**{"classes": CLASSES, "model": "m", "request_id": "r", **parts}), fields
    )


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()
