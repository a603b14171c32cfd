"""The answer as CSV: a header, then a row a point."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import orjson

from app.clouds.cloud import Cloud, Segmentation

CHUNK_ROWS = 100_000
DECIMALS = 5


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """Columns x, y, z, label, class (name, empty where ignored), and what was asked for (p_NAME: probabilities;
    instance: id of the object, -1 for none).

    Values that are not finite are written as nan. Other columns of the cloud are left out, which is said in a warning.
    """
    segmentation.warnings += cloud.left_out("CSV")
    names, values = _requested(segmentation)
    if segmentation.features is not None:
        segmentation.warnings.append("CSV gets no features: ask for another output to get them.")
    name_of = {c.id: c.name for c in segmentation.classes}
    ids = np.unique(segmentation.labels).tolist()
    middle_of = {label: f",{_line([label, name_of.get(label, '')])}".encode() for label in ids}
    instances = segmentation.instances
    parts = [_line(["x", "y", "z", "label", "class", *["instance"] * (instances is not None), *names]).encode()]
    for start in range(0, len(cloud), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        xyz = _rows(cloud.xyz[rows])
        middle = [middle_of[label] for label in segmentation.labels[rows].tolist()]
        if instances is not None:
            middle = [b"%b,%d" % each for each in zip(middle, instances[rows].tolist(), strict=True)]
        tail = _rows(np.round(values[rows].astype(np.float64), DECIMALS)) if names else []
        ends = [b"," + row for row in tail] if names else [b""] * len(xyz)
        parts += map(b"".join, zip(xyz, middle, ends, strict=True))
    return b"\n".join([*parts, b""])


def _requested(segmentation: Segmentation) -> tuple[list[str], np.ndarray]:
    """Names (C,) and values (N, C) of what was asked for beside the labels."""
    columns: dict[str, np.ndarray | None] = {"confidence": segmentation.confidence, "entropy": segmentation.entropy}
    if segmentation.probabilities is not None:
        names = (f"p_{c.name}" for c in segmentation.classes)
        columns |= zip(names, segmentation.probabilities.T, strict=True)
    columns |= dict(segmentation.color_columns())
    given = {name: values for name, values in columns.items() if values is not None}
    return list(given), np.stack([*given.values()], axis=1) if given else np.empty((len(segmentation.labels), 0))


def _line(fields: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _rows(table: np.ndarray) -> list[bytes]:
    """Each row of ``table`` (N, C) as numbers joined by commas, as short as they can be and still the same."""
    text = orjson.dumps(np.ascontiguousarray(table), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[2:-2].replace(b"null", b"nan").split(b"],[")
