"""The answer as JSON."""

from typing import Any

import numpy as np
import orjson

from app.clouds.cloud import Cloud, Segmentation, SegmentationMeta
from app.clouds.fields import FIELDS, LABELS
from app.clouds.needs import FLOAT_BYTES, SORTED_BYTES
from app.clouds.units import Units


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """What POST /predict answers by default; numbers that are not finite become null."""
    return orjson.dumps(body(cloud, segmentation), option=orjson.OPT_SERIALIZE_NUMPY)


def body(cloud: Cloud, segmentation: Segmentation) -> dict[str, Any]:
    """The answer as a dict: what ``summary`` has, and the values of every point as arrays in input order."""
    arrays = {FIELDS[name].array_name: np.ascontiguousarray(values) for name, values in segmentation.fields.items()}
    return {**summary(cloud, segmentation), LABELS.array_name: np.ascontiguousarray(segmentation.labels), **arrays}


def summary(cloud: Cloud, segmentation: Segmentation) -> dict[str, Any]:
    """The answer as a dict without the values of points; ``count`` is the points of a class or an instance."""
    meta = segmentation.meta
    ids, counts = np.unique(segmentation.labels, return_counts=True)
    count_of = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    answer: dict[str, Any] = {
        "model": meta.model,
        "num_points": len(segmentation.labels),
        "classes": [
            {"id": c.id, "name": c.name, "color": list(c.color), "asprs": c.asprs, "count": count_of.get(c.id, 0)}
            for c in meta.classes
        ],
        "ignore_label": meta.ignore_label,
        "num_ignored": count_of.get(meta.ignore_label, 0),
        "units": described(meta.units),
        "crs": (meta.units.crs if meta.units else "") or None,
        "passes": meta.passes,
        "passes_wanted": meta.passes_wanted,
        "warnings": all_warnings(cloud, meta),
        "timings_ms": {stage: round(float(ms), 3) for stage, ms in meta.timings_ms.items()},
        "request_id": meta.request_id,
    }
    if "instances" in segmentation.fields:
        answer["instances"] = [
            {"id": info.id, "label": info.label, "score": info.score, "count": info.num_points}
            for info in meta.instances
        ]
    return answer


def all_warnings(cloud: Cloud, meta: SegmentationMeta) -> list[str]:
    """Those of reading and of answering, each once."""
    return list(dict.fromkeys([*cloud.warnings, *meta.warnings]))


def instance_arrays(segmentation: Segmentation) -> dict[str, np.ndarray]:
    """Class id int32 and score float32 of every instance, if instances were asked for, by name."""
    if "instances" not in segmentation.fields:
        return {}
    instances = segmentation.meta.instances
    return {
        "instance_labels": np.array([info.label for info in instances], np.int32),
        "instance_scores": np.array([info.score for info in instances], np.float32),
    }


def described(units: Units | None) -> dict[str, Any] | None:
    """What the answer says of each axis: the unit's name, the metres that one is, and who said so."""
    if units is None:
        return None
    return {
        axis: {"name": unit.name, "metres": unit.metres, "source": unit.source}
        for axis, unit in zip("xyz", units.axes, strict=True)
    }


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """By the number of values."""
    size = len(cloud) * 12 + segmentation.num_bytes // 4 * FLOAT_BYTES
    return 2 * size + len(cloud) * SORTED_BYTES, size
