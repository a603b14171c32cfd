"""The answer as the page reads it: compact columns in blocks, points in random order."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from app.clouds import reference
from app.clouds.answer import summary
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.fields import FIELDS, OutputField
from app.clouds.principal import principal_colors

MAGIC = b"PSVIEW\x00\x01"
BLOCK_POINTS = 1 << 16
ALIGNMENT = 4  # every column of a block begins at a multiple of so many bytes
SHOWN = (0.005, 0.995)  # quantiles at which the scale of a field ends, whatever a few strange points have
MISSING = 0xFFFF  # what a point without a value has as a field of numbers, if any point has none
FINE_STEP = 0.01  # 16 bits an axis if they give a step of so much or less, in the file's unit; else 32


@dataclass(frozen=True)
class StoredColumn:
    """Values (N,) or (N, C) of one name as they are stored; the true value is ``offset + step * stored``.

    ``scale`` says how to show a field of numbers: the ``range`` of its true values, their ``unit``, and what stands for
    none (``missing``).
    """

    name: str
    values: np.ndarray
    step: float | list[float] | None = None
    offset: float | list[float] | None = None
    scale: dict[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """What the header says of it."""
        components = 1 if self.values.ndim == 1 else self.values.shape[1]
        entry = {"name": self.name, "type": self.values.dtype.name, "components": components, **self.scale}
        return entry if self.step is None else entry | {"step": self.step, "offset": self.offset}


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """Points with finite coordinates in a random order that never changes.

    ``MAGIC``, the header's length (uint32), the header (JSON, padded with spaces to a multiple of 8 bytes in all),
    then blocks of ``block_points`` points, the last one shorter: column after column, little endian, each padded to
    ``ALIGNMENT``. Any number of blocks is an even sample of the whole.
    """
    rows = np.flatnonzero(np.isfinite(cloud.xyz).all(axis=1))
    rows = np.random.default_rng(0).permutation(rows)
    found = reference.find(cloud)
    columns = list(_columns(cloud, segmentation, found, rows))
    header = summary(cloud, segmentation) | {
        "num_shown": len(rows),
        "block_points": BLOCK_POINTS,
        "columns": [column.described() for column in columns],
        "reference": _reference(found, cloud, segmentation) if found else None,
        "file_columns": [{"name": name, "feeds": feeds} for name, feeds in cloud.columns.items()],
    }
    text = orjson.dumps(header)
    text += b" " * (-(len(MAGIC) + 4 + len(text)) % 8)
    return b"".join([MAGIC, struct.pack("<I", len(text)), text, *_blocks(columns, len(rows))])


def _reference(found: reference.Reference, cloud: Cloud, segmentation: Segmentation) -> dict[str, Any]:
    """The classes of the file, and the figures of how well the labels agree with them."""
    classes = segmentation.meta.classes
    comparison = reference.comparison(found.name, classes)
    agreement = comparison.confusion(cloud.extra[found.name], segmentation.labels).figures() if comparison else None
    return found.described(classes) | {"agreement": agreement}


def _blocks(columns: list[StoredColumn], num_points: int) -> Iterator[bytes]:
    for start in range(0, num_points, BLOCK_POINTS):
        for column in columns:
            part = column.values[start : start + BLOCK_POINTS].tobytes()
            yield part + bytes(-len(part) % ALIGNMENT)


def _columns(
    cloud: Cloud, segmentation: Segmentation, found: reference.Reference | None, rows: np.ndarray
) -> Iterator[StoredColumn]:
    yield StoredColumn("index", rows.astype("<u4"))
    yield _positions(cloud.xyz, rows)
    if cloud.intensity is not None:
        yield _scaled("intensity", cloud.intensity[rows], np.dtype("<u2"))
    if "instances" not in segmentation.fields and "instance" in cloud.extra:
        yield _ids("instance", cloud.extra["instance"][rows])
    for name, values in segmentation.fields.items():
        if values.ndim == 1:
            yield _of_field(FIELDS[name], values[rows], len(segmentation.meta.known_classes))
    yield _codes("label", segmentation.labels[rows], [known.id for known in segmentation.meta.classes])
    if found is not None:
        yield _codes("reference", cloud.extra[found.name][rows], found.codes)
    if cloud.rgb is not None:
        yield StoredColumn("rgb", cloud.rgb[rows])
    colors = _feature_colors(segmentation)
    if colors is not None:
        yield StoredColumn("features", colors[rows])


def _of_field(declared: OutputField, values: np.ndarray, num_classes: int) -> StoredColumn:
    """The column of a field of one number a point, of points in random order: ids, or numbers on a scale; a byte for
    those from 0 to 1."""
    if declared.kind == "i":
        return _ids(declared.column_name, values)
    is_known = np.isfinite(values)
    sample = values[:BLOCK_POINTS][is_known[:BLOCK_POINTS]]
    limits = np.quantile(sample, SHOWN).tolist() if len(sample) else [0.0, 0.0]
    values = np.where(is_known, values, 0)
    if declared.greatest:
        limits = [0.0, declared.greatest(num_classes)]
    scale = {"range": limits, "unit": declared.unit}
    if not is_known.all():
        stored = _scaled(declared.column_name, values, np.dtype("<u2"), MISSING - 1)
        stored.values[~is_known] = MISSING
        return replace(stored, scale={**scale, "missing": MISSING})
    if limits == [0, 1]:
        shares = np.rint(np.clip(values, 0, 1) * 255)
        return StoredColumn(declared.column_name, shares.astype("u1"), 1 / 255, 0, scale)
    return replace(_scaled(declared.column_name, values, np.dtype("<u2")), scale=scale)


def _ids(name: str, values: np.ndarray) -> StoredColumn:
    return StoredColumn(name, np.nan_to_num(values).astype("<i4"))


def _feature_colors(segmentation: Segmentation) -> np.ndarray | None:
    """uint8 (N, 3): those asked for, else those of the features, else of the probabilities."""
    given = segmentation.fields
    if "features_rgb" in given:
        return given["features_rgb"]
    values = given.get("features", given.get("probabilities"))
    return None if values is None else principal_colors(values)


def _positions(xyz: np.ndarray, rows: np.ndarray) -> StoredColumn:
    finite = xyz[rows]
    low = finite.min(axis=0) if len(rows) else np.zeros(3)
    extent = (finite.max(axis=0) if len(rows) else np.zeros(3)) - low
    dtype = np.dtype("<u2" if extent.max() <= FINE_STEP * 0xFFFF else "<u4")
    step = np.where(extent > 0, extent / np.iinfo(dtype).max, 1)
    stored = np.clip(np.rint((finite - low) / step), 0, np.iinfo(dtype).max)
    return StoredColumn("position", stored.astype(dtype), step.tolist(), low.tolist())


def _scaled(name: str, values: np.ndarray, dtype: np.dtype, largest: int | None = None) -> StoredColumn:
    """``values`` over the range of ``dtype``, up to ``largest`` if that is given; whole numbers that fit stay what they
    are."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    largest = largest or int(np.iinfo(dtype).max)
    if low >= 0 and high <= largest and (values == np.rint(values)).all():
        return StoredColumn(name, values.astype(dtype), 1, 0)
    step = (high - low) / largest or 1.0
    return StoredColumn(name, np.rint((values - low) / step).astype(dtype), step, low)


def _codes(name: str, values: np.ndarray, known: list[int]) -> StoredColumn:
    """The place of each value in ``known``, ``len(known)`` for those that are not in it."""
    if not known:
        return StoredColumn(name, np.zeros(len(values), "u1"))
    order = np.argsort(known)
    ascending = np.array(known)[order]
    at = np.minimum(np.searchsorted(ascending, values), len(known) - 1)
    places = np.where(ascending[at] == values, order[at], len(known))
    return StoredColumn(name, places.astype("u1" if len(known) < 256 else "<u2"))


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """By the number of points, and of the values of fields that have many a point."""
    size = len(cloud) * 48
    wide = sum(values.nbytes for values in segmentation.fields.values() if values.ndim > 1)
    return 2 * size + len(cloud) * 200 + 3 * wide + (128 << 20 if wide else 0), size
