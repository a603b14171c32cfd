"""The answer as CSV: a header, then a row a point."""

import csv
import io

import numpy as np

from app.clouds.cloud import Cloud, Segmentation

CHUNK_ROWS = 100_000
DECIMALS = 5


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """Columns x, y, z, label, class (name, empty where ignored), and what was asked for (p_NAME: probabilities)."""
    name_of = {c.id: c.name for c in segmentation.classes}
    labels = segmentation.labels
    values: dict[str, np.ndarray] = {}
    if segmentation.confidence is not None:
        values["confidence"] = segmentation.confidence
    if segmentation.entropy is not None:
        values["entropy"] = segmentation.entropy
    if segmentation.probabilities is not None:
        names = (f"p_{c.name}" for c in segmentation.classes)
        values |= zip(names, segmentation.probabilities.T, strict=True)
    file = io.BytesIO()
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["x", "y", "z", "label", "class", *values])
    for start in range(0, len(cloud), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        part = labels[rows].tolist()
        writer.writerows(
            zip(
                *cloud.xyz[rows].T.tolist(),
                part,
                [name_of.get(label, "") for label in part],
                *(np.round(array[rows].astype(np.float64), DECIMALS).tolist() for array in values.values()),
                strict=True,
            )
        )
    text.flush()
    return file.getvalue()
