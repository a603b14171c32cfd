"""What the service answers to one cloud."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import numpy as np

from pointserve_client.errors import MALFORMED, Problem
from pointserve_client.upload import Array

OnReceived = Callable[[int, "int | None"], None]
DTYPES = {"I32": np.int32, "F32": np.float32, "U8": np.uint8}


class PredictionWarning(UserWarning):
    """A warning of an answer: what the reader of the file had to assume, what the model did without."""


@dataclass(frozen=True)
class RefinedStep:
    """A step that refined the labels, and the number of points that it changed."""

    step: str
    changed: int


@dataclass(frozen=True)
class Answer:
    """How the answer came about.

    Attributes:
        media_type: of the file.
        model: name of the model that answered.
        num_points: of the cloud.
        passes, passes_wanted: of the network, made, and those that the mode asks for.
        warnings: one sentence each.
        timings_ms: milliseconds by stage, in the order in which they ran.
        request_id: under which the server's log has it.
        refined: the steps that refined the labels, in their order, and how many points each changed.
    """

    media_type: str
    model: str
    num_points: int
    passes: int
    passes_wanted: int
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    request_id: str = ""
    refined: list[RefinedStep] = field(default_factory=list)


@dataclass(frozen=True)
class LabelClass:
    """One class of a model: ``id`` as in the labels, ``color`` (r, g, b) from 0 to 255, ``asprs`` the code for LAS."""

    id: int
    name: str
    color: tuple[int, int, int] | None = None
    asprs: int | None = None


@dataclass(frozen=True)
class Prediction:
    """A class for each of N points, in the order of the cloud.

    Attributes:
        labels: int32 (N,), ids of ``classes`` or ``ignore_label``.
        fields: what else was asked for, arrays by name, such as ``confidence`` float32 (N,).
        classes: those that the model tells apart, and those that only steps of refinement gave points.
        ignore_label: label of points that could not be used.
        units: what the coordinates of each axis were taken for.
        meta: how the answer came about.
    """

    labels: Array
    fields: dict[str, Array]
    classes: list[LabelClass]
    ignore_label: int
    units: dict[str, Any] | None
    meta: Answer


def answer_of(headers: Mapping[str, str]) -> Answer:
    """The answer that has ``headers``; raises Problem if pointserve did not write them."""
    try:
        passes, _, passes_wanted = headers["x-pointserve-passes"].partition("/")
        return Answer(
            media_type=headers["content-type"].partition(";")[0],
            model=unquote(headers["x-pointserve-model"]),
            num_points=int(headers["x-pointserve-points"]),
            passes=int(passes),
            passes_wanted=int(passes_wanted),
            warnings=_warnings(headers["x-pointserve-warnings"]),
            timings_ms=_timings_ms(headers.get("server-timing", "")),
            request_id=headers["x-request-id"],
            refined=_refined(headers.get("x-pointserve-refined", "[]")),
        )
    except MALFORMED as error:
        raise Problem(f"What answered is no pointserve, or another version of it ({error}).", status=502) from error


def prediction_of(content: bytearray, meta: Answer) -> Prediction:
    """The arrays of a file in safetensors, which are views of ``content``; raises Problem if it is none."""
    try:
        begin = 8 + int.from_bytes(content[:8], "little")
        header: dict[str, Any] = json.loads(content[8:begin])
        said: dict[str, str] = header.pop("__metadata__")
        arrays = {name: _array(memoryview(content)[begin:], entry) for name, entry in header.items()}
        labels = arrays.pop("labels")
        has_rows = all(len(array) == meta.num_points for array in arrays.values())
        if labels.dtype != np.int32 or labels.shape != (meta.num_points,) or not has_rows:
            raise ValueError(f"labels or fields are not those of {meta.num_points} points")
        return Prediction(
            labels=labels,
            fields=arrays,
            classes=[_class(entry) for entry in json.loads(said["classes"])],
            ignore_label=int(said["ignore_label"]),
            units=json.loads(said["units"]),
            meta=replace(meta, warnings=_warnings(said["warnings"])),  # those of the header are cut short
        )
    except MALFORMED as error:
        raise Problem(f"The answer cannot be read; is the server of another version? ({error})", status=502) from error


def _array(data: memoryview, entry: Mapping[str, Any]) -> Array:
    begin, end = entry["data_offsets"]
    return np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])


def _class(entry: Mapping[str, Any]) -> LabelClass:
    color = entry.get("color")
    return LabelClass(entry["id"], entry["name"], (color[0], color[1], color[2]) if color else None, entry.get("asprs"))


def _warnings(text: str) -> list[str]:
    return [str(sentence) for sentence in json.loads(text)]


def _refined(text: str) -> list[RefinedStep]:
    return [RefinedStep(str(entry["step"]), int(entry["changed"])) for entry in json.loads(text)]


def _timings_ms(header: str) -> dict[str, float]:
    """Those of Server-Timing; what a proxy adds to it may have descriptions and be of any form."""
    found = {}
    for part in header.split(","):
        stage, *parameters = part.strip().split(";")
        for parameter in parameters:
            if parameter.startswith("dur="):
                with suppress(ValueError):
                    found[stage] = float(parameter.removeprefix("dur="))
    return found
