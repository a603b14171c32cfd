"""The sample of a cloud's usable points, which transforms work on."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from app.clouds.cloud import Cloud
from app.clouds.columns import STRENGTHS

from . import frame
from .normals import estimate_normals
from .procedure import InferenceProcedure, Transform
from .sample import Sample
from .upload import upload
from .usable_points import UsablePoints

NEUTRAL_COLOR = 127.5
NEUTRAL_STRENGTH = 0.5
RETURN_COLUMNS = ("return_number", "number_of_returns")


def feature_columns(procedure: InferenceProcedure) -> set[str]:
    """Names of the columns that the procedure's Collect joins for the network, or its GridSample projects on."""
    names: set[str] = set()
    for transform in (*procedure.transform, procedure.voxelize, *procedure.post_transform):
        if transform.get("project_displacement"):
            names.add("normal")
        if transform["type"] == "Collect":
            for key, columns in transform.items():
                if key.endswith("_keys"):
                    names.update(columns)
    return names


def read_columns(procedure: InferenceProcedure) -> set[str]:
    """Names of the columns of a sample that the procedure reads, those of ``Cloud.extra`` among them."""
    return feature_columns(procedure) | {*RETURN_COLUMNS} | _copied(procedure.transform)


def build_sample(cloud: Cloud, points: UsablePoints, procedure: InferenceProcedure, warnings: list[str]) -> Sample:
    """The sample of M > 0 points of the cloud, on their device, with the columns that the procedure reads.

    ``coord`` float32 (M, 3) are the coordinates of ``frame.local``, ``frame`` its corners, if any. ``color`` is 0 to
    255. ``strength``, under the config's name for it, is intensity over its scale. If the cloud lacks what the
    network reads, normals are estimated, color becomes mid grey (127.5), strength 0.5, each with a warning. Values that
    are not finite become 0. Columns of ``cloud.extra`` are float32 (M, 1).
    """
    columns = feature_columns(procedure)
    coord, corners = frame.local(cloud, points, procedure, "coord" in columns)
    sample: Sample = {"coord": coord} if corners is None else {"coord": coord, "frame": corners}
    stated: dict[str, Tensor] = {}
    if "color" in columns:
        sample["color"] = _color(cloud, points, warnings)
    copied = _copied(procedure.transform)
    strength = _strength_name(columns | copied, cloud)
    if strength and cloud.intensity is not None:
        stated[strength] = _column(cloud.intensity, points)
    elif strength:
        warnings.append("The cloud has no intensity, which the model reads: 0.5 was taken; expect worse labels.")
        sample[strength] = torch.full_like(sample["coord"][:, :1], NEUTRAL_STRENGTH)
    if "normal" in columns and cloud.normals is not None:
        stated["normal"] = _column(cloud.normals, points)
    elif "normal" in columns:
        warnings.append("The cloud has no normals: estimated from neighbouring points.")
        sample["normal"] = estimate_normals(sample["coord"])
    if "returns" in columns and not set(RETURN_COLUMNS) <= set(cloud.extra):
        warnings.append("The cloud has no return numbers: every point is taken as the only return of its pulse.")
    for name in sorted(read_columns(procedure) & set(cloud.extra) - set(sample) - set(stated)):
        stated[name] = _column(cloud.extra[name], points)
    greatest = _make_finite(stated, warnings)
    if strength in stated:
        if cloud.intensity_scale is None:
            warnings.append(
                f"The scale of the intensity is unknown: taken as it stands, up to {greatest[strength]:g}; "
                "the model may expect 0 to 1."
            )
        stated[strength] = stated[strength] / stated[strength].new_full((), cloud.intensity_scale or 1)
    return sample | stated


def _column(values: np.ndarray, points: UsablePoints) -> Tensor:
    """float32 (M, C) of a column (N,) or (N, C) of the cloud."""
    narrow = values if values.dtype == np.uint8 else values.astype(np.float32, copy=False)
    there = upload(narrow.reshape(len(values), -1), points.rows.device)
    if len(points) < len(values):
        there = there.index_select(0, points.rows)
    return there.float()


def _color(cloud: Cloud, points: UsablePoints, warnings: list[str]) -> Tensor:
    if cloud.rgb is not None:
        return _column(cloud.rgb, points)
    warnings.append("The cloud has no color, which the model reads: mid grey was taken; expect worse labels.")
    return torch.full((len(points), 3), NEUTRAL_COLOR, device=points.rows.device)


def _strength_name(names: set[str], cloud: Cloud) -> str | None:
    """What the procedure calls the intensity; of several such names that of STRENGTHS that is no column of its own."""
    found = [name for name in ("strength", *STRENGTHS) if name in names]
    own = [name for name in found if name not in cloud.extra]
    return own[0] if own else None


def _copied(transforms: Sequence[Transform]) -> set[str]:
    return {name for transform in transforms if transform["type"] == "Copy" for name in transform.get("keys_dict", ())}


def _make_finite(columns: dict[str, Tensor], warnings: list[str]) -> dict[str, float]:
    """The greatest value of each column, whose values that are not finite are set to 0, with a warning."""
    if not columns:
        return {}
    bounds = torch.stack([torch.stack(torch.aminmax(values)) for values in columns.values()]).tolist()  # reads back
    for (name, values), (low, high) in zip(list(columns.items()), bounds, strict=True):
        if not math.isfinite(low) or not math.isfinite(high):
            finite = values.isfinite()
            num_points = len(values) - int(finite.all(1).sum())
            warnings.append(f"Points with NaN or infinite {name}: {num_points:,}; taken as 0.")
            columns[name] = torch.where(finite, values, 0)
    return {name: high for name, (_, high) in zip(columns, bounds, strict=True)}
