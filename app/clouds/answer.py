"""The answer as JSON."""

from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from app.clouds import occurrences
from app.clouds.cloud import Cloud, Segmentation, SegmentationMeta
from app.clouds.fields import FIELDS, LABELS
from app.clouds.needs import FLOAT_BYTES, SORTED_BYTES
from app.clouds.units import Unit, Units, UnitSource

Color = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]


class ClassCount(TypedDict):
    """A class of the model, and how often it was found."""

    id: int
    name: str
    color: Color
    asprs: int | None
    count: Annotated[int, Field(description="Points of this class in this cloud.")]


class InstanceCount(TypedDict):
    """An object that was found."""

    id: int
    label: Annotated[int, Field(description="Class id.")]
    score: Annotated[float, Field(description="Mean probability of the class, 0 to 1.")]
    count: Annotated[int, Field(description="Points of the instance.")]


class StepCount(TypedDict):
    """A step that refined the labels."""

    step: str
    changed: Annotated[int, Field(description="Points whose label it changed.")]


class AxisUnit(TypedDict):
    """The unit of an axis."""

    name: str
    metres: Annotated[float, Field(description="That one unit is; of degrees, along this axis at this place.")]
    source: Annotated[UnitSource, Field(description="Who says so.")]


class AxisUnits(TypedDict):
    """The units of the axes."""

    x: AxisUnit
    y: AxisUnit
    z: AxisUnit


class Prediction(TypedDict):
    """The answer without the values of points, which ``fields.OUTPUTS`` declares."""

    model: str
    num_points: int
    classes: list[ClassCount]
    ignore_label: Annotated[int, Field(description="Label of points that could not be used.")]
    num_ignored: int
    instances: NotRequired[list[InstanceCount]]
    units: Annotated[AxisUnits | None, Field(description="Those that the coordinates of the file were taken for.")]
    crs: Annotated[str | None, Field(description="Name of the coordinate system, if one was stated.")]
    passes: Annotated[int, Field(description="Passes of the network that were made.")]
    passes_wanted: Annotated[int, Field(description="Those that the mode asks for; more if a limit kept some away.")]
    refined: NotRequired[Annotated[list[StepCount], Field(description="What refined the labels, in its order.")]]
    warnings: list[str]
    timings_ms: dict[str, float]
    request_id: str


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """What POST /predict answers by default; numbers that are not finite become null."""
    return orjson.dumps(body(cloud, segmentation), option=orjson.OPT_SERIALIZE_NUMPY)


def body(cloud: Cloud, segmentation: Segmentation) -> dict[str, Any]:
    """The answer as a dict: what ``summary`` has, and the values of every point as arrays in input order."""
    arrays = {FIELDS[name].array_name: np.ascontiguousarray(values) for name, values in segmentation.fields.items()}
    return {**summary(cloud, segmentation), LABELS.array_name: np.ascontiguousarray(segmentation.labels), **arrays}


def summary(cloud: Cloud, segmentation: Segmentation) -> Prediction:
    """The answer without the values of points; ``count`` is the points of a class or an instance."""
    meta = segmentation.meta
    ids, counts = occurrences.of(segmentation.labels)
    count_of = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    answer: Prediction = {
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
    if meta.refined:
        answer["refined"] = refined(meta)
    if "instances" in segmentation.fields:
        answer["instances"] = [
            {"id": info.id, "label": info.label, "score": info.score, "count": info.num_points}
            for info in meta.instances
        ]
    return answer


def refined(meta: SegmentationMeta) -> list[StepCount]:
    """The steps that refined the labels, in their order."""
    return [{"step": done.step, "changed": done.changed} for done in meta.refined]


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


def described(units: Units | None) -> AxisUnits | None:
    """What the answer says of each axis: the unit's name, the metres that one is, and who said so."""
    if units is None:
        return None
    return {"x": _described(units.x), "y": _described(units.y), "z": _described(units.z)}


def _described(unit: Unit) -> AxisUnit:
    return {"name": unit.name, "metres": unit.metres, "source": unit.source}


def writing_needs(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> tuple[int, int]:
    """Bytes of work and of the answer, by the number of values."""
    size = len(cloud) * 12 + segmentation.num_bytes // 4 * FLOAT_BYTES
    return 2 * size + len(cloud) * SORTED_BYTES, size
