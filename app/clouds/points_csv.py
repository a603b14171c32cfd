"""The answer as CSV: a header, then a row a point."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import orjson

from app.clouds.cloud import Cloud, Segmentation
from app.clouds.needs import NUMBER_BYTES, ROW_OBJECT_BYTES
from app.clouds.records import free_name

CHUNK_ROWS = 100_000
DECIMALS = 5


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """Columns x, y, z, label, class (name, empty if ignored), and what was asked for; probabilities are p_NAME each.

    Values that are not finite are written as nan. Other columns of the cloud are left out, which is said in a warning.
    """
    meta = segmentation.meta
    meta.warnings += cloud.left_out("CSV")
    ids, others = _requested(segmentation)
    name_of = {c.id: c.name for c in meta.classes}
    labels = np.unique(segmentation.labels).tolist()
    middle_of = {label: f",{_line([label, name_of.get(label, '')])}".encode() for label in labels}
    label = free_name(segmentation.label_column, {"x", "y", "z", "class", *ids, *others})
    parts = [_line(["x", "y", "z", label, "class", *ids, *others]).encode()]
    for start in range(0, len(cloud), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        pieces = [_rows(cloud.xyz[rows]), [middle_of[label] for label in segmentation.labels[rows].tolist()]]
        if ids:
            pieces.append(_ends([values[rows] for values in ids.values()]))
        if others:
            pieces.append(_ends([np.round(values[rows].astype(np.float64), DECIMALS) for values in others.values()]))
        parts += map(b"".join, zip(*pieces, strict=True))
    return b"\n".join([*parts, b""])


def _requested(segmentation: Segmentation) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Columns (N,) of what was asked for by name: ids, which are written as they are, and numbers that are rounded.

    Of the latter, those that a point has one of come first.
    """
    columns = list(segmentation.columns("CSV", by_class=True))
    ids = {name: values for field, name, values in columns if field.width is None and field.kind == "i"}
    single_first = sorted(columns, key=lambda column: column[0].width is not None)
    return ids, {name: values for _, name, values in single_first if name not in ids}


def _ends(columns: list[np.ndarray]) -> list[bytes]:
    """The columns (N,) of each row behind a comma."""
    return [b"," + row for row in _rows(np.stack(columns, axis=1))]


def _line(fields: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _rows(table: np.ndarray) -> list[bytes]:
    """Each row of ``table`` (N, C) as numbers joined by commas, as short as they can be without a change of their
    values."""
    text = orjson.dumps(np.ascontiguousarray(table), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[2:-2].replace(b"null", b"nan").split(b"],[")


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """By the number of values and the longest name of a class."""
    name_bytes = max((len(known.name.encode()) for known in segmentation.meta.classes), default=0)
    width = segmentation.num_values
    row_bytes = 3 * NUMBER_BYTES + 32 + name_bytes + width * NUMBER_BYTES
    size = len(cloud) * row_bytes
    return 2 * size + len(cloud) * (ROW_OBJECT_BYTES + 16 * width), size
