"""The answer as JSON."""

from typing import Any

import numpy as np
import orjson

from app.clouds.cloud import Cloud, Segmentation
from app.clouds.units import Units


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """What POST /predict answers by default; numbers that are not finite become null."""
    return orjson.dumps(body(cloud, segmentation), option=orjson.OPT_SERIALIZE_NUMPY)


def body(cloud: Cloud, segmentation: Segmentation) -> dict[str, Any]:
    """The answer as a dict; per-point values are arrays in input order, ``count`` is the points of a class."""
    labels = np.ascontiguousarray(segmentation.labels)
    ids, counts = np.unique(labels, return_counts=True)
    count_of = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    answer: dict[str, Any] = {
        "model": segmentation.model,
        "num_points": len(labels),
        "classes": [
            {"id": c.id, "name": c.name, "color": list(c.color), "asprs": c.asprs, "count": count_of.get(c.id, 0)}
            for c in segmentation.classes
        ],
        "ignore_label": segmentation.ignore_label,
        "num_ignored": count_of.get(segmentation.ignore_label, 0),
        "labels": labels,
    }
    for name in ("confidence", "probabilities", "entropy", "features", "features_rgb"):
        values = getattr(segmentation, name)
        if values is not None:
            answer[name] = np.ascontiguousarray(values)
    if segmentation.instances is not None:
        answer["instances"] = [
            {"id": info.id, "label": info.label, "score": info.score, "count": info.num_points}
            for info in segmentation.instance_infos
        ]
        answer["instance_ids"] = np.ascontiguousarray(segmentation.instances)
    return answer | {
        "units": described(segmentation.units),
        "crs": (segmentation.units.crs if segmentation.units else "") or None,
        "passes": segmentation.passes,
        "passes_wanted": segmentation.passes_wanted,
        "warnings": list(dict.fromkeys([*cloud.warnings, *segmentation.warnings])),
        "timings_ms": {stage: round(float(ms), 3) for stage, ms in segmentation.timings_ms.items()},
        "request_id": segmentation.request_id,
    }


def described(units: Units | None) -> dict[str, Any] | None:
    """What the answer says of each axis: the unit's name, the metres that one is, and who said so."""
    if units is None:
        return None
    return {
        axis: {"name": unit.name, "metres": unit.metres, "source": unit.source}
        for axis, unit in zip("xyz", units.axes, strict=True)
    }
