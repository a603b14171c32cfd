"""The usable points of a cloud, and the sample of them that transforms work on."""

from collections.abc import Sequence

import numpy as np
import torch

from app.clouds.cloud import Cloud
from app.clouds.columns import STRENGTHS
from app.clouds.units import METRE, Unit
from app.errors import BadCloud

from . import column_statistics
from .normals import estimate_normals
from .procedure import InferenceProcedure, Transform
from .sample import Sample

LOCAL_ORIGIN_FROM = 8192.0
VOXELS_A_SIDE = 1 << 18
MAX_VOXELS_WIDE = 1 << 24  # float32 has no more distinct places
PLAUSIBLE_EXTENT_M = 20_000  # for voxels of up to a metre, and more for larger ones
PLAUSIBLE_VOXELS = 10
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


def usable_points(xyz: np.ndarray, grid_size: float, warnings: list[str], unit: Unit = METRE) -> np.ndarray:
    """int64 (M,), the points of ``xyz`` (N, 3) that a network can take.

    ``xyz`` and ``grid_size`` are in ``unit``. ``warnings`` gets a sentence on what is left out or looks odd.

    Left out are points with NaN or inf, and, only in a cloud of 2**18 voxels or more a side, points farther from the
    box of the middle 98 % on each axis than ten times its longest side. Raises BadCloud if it stays too wide or too
    high then.
    """
    usable = np.flatnonzero(column_statistics.finite(xyz))
    num_left_out = len(xyz) - len(usable)
    if num_left_out:
        warnings.append(f"Points with NaN or infinite coordinates: {num_left_out:,}; they get the ignore label.")
    if len(usable) and _extent(_chosen(xyz, usable)).max() >= VOXELS_A_SIDE * grid_size:
        inside = _near_the_bulk(xyz[usable])
        if inside.any() and not inside.all():
            warnings.append(
                f"Points far away from all others: {np.count_nonzero(~inside):,}; they get the ignore label."
            )
            usable = usable[inside]
        *across, height = _extent(xyz[usable])
        _check_voxels(max(across), MAX_VOXELS_WIDE, "wide", grid_size, unit)
        _check_voxels(height, VOXELS_A_SIDE, "high", grid_size, unit)
    if len(usable):
        _warn_of_units(_chosen(xyz, usable), grid_size, warnings, unit)
    return usable


def build_sample(
    cloud: Cloud, rows: np.ndarray, procedure: InferenceProcedure, device: str, warnings: list[str]
) -> Sample:
    """The sample of the points ``rows`` (M,), M > 0, of the cloud, with the columns that the procedure reads.

    ``coord`` float32 (M, 3) is ``cloud.xyz``, from a local origin if a coordinate is beyond ±8192, because float32 has
    steps of a millimetre there. ``color`` is 0 to 255. ``strength``, under the config's name for it, is
    intensity over its scale. If the cloud lacks what the network reads, normals are estimated, color becomes mid grey
    (127.5), strength 0.5, each with a warning. Values that are not finite become 0. Columns of ``cloud.extra``
    are float32 (M, 1).
    """
    xyz = _chosen(cloud.xyz, rows)
    if np.abs(xyz).max() > LOCAL_ORIGIN_FROM:
        xyz = xyz - np.floor(column_statistics.lowest(xyz))
    columns = feature_columns(procedure)
    sample: Sample = {"coord": xyz.astype(np.float32)}
    if "color" in columns:
        sample["color"] = _color(cloud, rows, warnings)
    copied = _copied(procedure.transform)
    if strength := _strength_name(columns | copied, cloud):
        sample[strength] = _strength(cloud, rows, warnings)
    if "normal" in columns:
        if cloud.normals is None:
            warnings.append("The cloud has no normals: estimated from neighbouring points.")
            sample["normal"] = estimate_normals(torch.from_numpy(sample["coord"]).to(device)).cpu().numpy()
        else:
            sample["normal"] = cloud.normals[rows].astype(np.float32)
    if "returns" in columns and not set(RETURN_COLUMNS) <= set(cloud.extra):
        warnings.append("The cloud has no return numbers: every point is taken as the only return of its pulse.")
    for name in read_columns(procedure) & set(cloud.extra) - set(sample):
        sample[name] = cloud.extra[name][rows].astype(np.float32).reshape(len(rows), 1)
    _replace_non_finite(sample, warnings)
    return sample


def _chosen(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``values[rows]`` of ascending rows, without a copy if they are all."""
    return values if len(rows) == len(values) else values[rows]


def _color(cloud: Cloud, rows: np.ndarray, warnings: list[str]) -> np.ndarray:
    if cloud.rgb is not None:
        return cloud.rgb[rows].astype(np.float32)
    warnings.append("The cloud has no color, which the model reads: mid grey was taken; expect worse labels.")
    return np.full((len(rows), 3), NEUTRAL_COLOR, np.float32)


def _strength_name(names: set[str], cloud: Cloud) -> str | None:
    """What the procedure calls the intensity; of several such names that of STRENGTHS that is no column of its own."""
    found = [name for name in ("strength", *STRENGTHS) if name in names]
    own = [name for name in found if name not in cloud.extra]
    return own[0] if own else None


def _strength(cloud: Cloud, rows: np.ndarray, warnings: list[str]) -> np.ndarray:
    if cloud.intensity is None:
        warnings.append("The cloud has no intensity, which the model reads: 0.5 was taken; expect worse labels.")
        return np.full((len(rows), 1), NEUTRAL_STRENGTH, np.float32)
    intensity = cloud.intensity[rows].astype(np.float32)
    if cloud.intensity_scale is None:
        warnings.append(
            f"The scale of the intensity is unknown: taken as it stands, up to {intensity.max():g}; "
            "the model may expect 0 to 1."
        )
    return (intensity / np.float32(cloud.intensity_scale or 1)).reshape(-1, 1)


def _copied(transforms: Sequence[Transform]) -> set[str]:
    return {name for transform in transforms if transform["type"] == "Copy" for name in transform.get("keys_dict", ())}


def _replace_non_finite(sample: Sample, warnings: list[str]) -> None:
    for name, values in sample.items():
        if not (finite := column_statistics.finite(values)).all():
            warnings.append(f"Points with NaN or infinite {name}: {np.count_nonzero(~finite):,}; taken as 0.")
            sample[name] = np.where(np.isfinite(values), values, np.float32(0))


@np.errstate(over="ignore")
def _extent(xyz: np.ndarray) -> np.ndarray:
    return column_statistics.extent(xyz)


def _check_voxels(size: float, most: int, how: str, grid_size: float, unit: Unit) -> None:
    if size >= most * grid_size:
        raise BadCloud(
            f"The cloud is {size:g} units {how}, more than {most} voxels of {grid_size:g}; the model expects "
            f"{unit.plural}: check the unit (units= states another) and the order of the columns, or name the format "
            "with format=."
        )


@np.errstate(over="ignore")
def _near_the_bulk(xyz: np.ndarray) -> np.ndarray:
    low, high = np.quantile(xyz, 0.01, axis=0, method="higher"), np.quantile(xyz, 0.99, axis=0, method="lower")
    low, high = np.minimum(low, high), np.maximum(low, high)
    margin = 10 * (high - low).max()
    return ((xyz >= low - margin) & (xyz <= high + margin)).all(1)


def _warn_of_units(xyz: np.ndarray, grid_size: float, warnings: list[str], unit: Unit) -> None:
    extent = column_statistics.extent(xyz)
    widest, across = extent.max(), extent[:2].max()
    plausible = PLAUSIBLE_EXTENT_M / unit.metres * max(1, grid_size * unit.metres)
    if widest > plausible or 0 < widest < PLAUSIBLE_VOXELS * grid_size:
        warnings.append(
            f"The cloud measures {widest:,.6g} at its widest; are its coordinates in {unit.plural}? The model expects "
            f"{unit.plural} and has voxels of {grid_size * unit.metres:g} m. Other units are stated by units=."
        )
    looks_like_degrees = across < 1 and np.abs(xyz[:, 0]).max() <= 180 and np.abs(xyz[:, 1]).max() <= 90
    if looks_like_degrees and extent[2] > 20 * across:
        warnings.append(
            f"Coordinates look like degrees: the model expects {unit.plural}, so project the cloud first, or say "
            "units=deg."
        )
