"""The usable points of a cloud: those that a network can take."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from app.clouds.units import METRE, Unit
from app.errors import BadCloud

VOXELS_A_SIDE = 1 << 18
MAX_VOXELS_WIDE = 1 << 24  # float32 has no more distinct places
PLAUSIBLE_EXTENT_M = 20_000  # for voxels of up to a metre, and more for larger ones
PLAUSIBLE_VOXELS = 10


@dataclass(frozen=True)
class UsablePoints:
    """Points of a cloud, in its order.

    Attributes:
        rows: int64 (M,), their places in the cloud, ascending.
        xyz: float64 (M, 3).
        low, high: the box around them, on the processor.
    """

    rows: Tensor
    xyz: Tensor
    low: list[float]
    high: list[float]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def extent(self) -> list[float]:
        """Of the box on every axis; inf beyond float64."""
        return [high - low for low, high in zip(self.low, self.high, strict=True)]

    def only(self, kept: Tensor) -> "UsablePoints":
        """The points where bool ``kept`` (M,) holds."""
        places = kept.nonzero().flatten()
        return points_at(self.rows.index_select(0, places), self.xyz.index_select(0, places))


def points_at(rows: Tensor, xyz: Tensor) -> UsablePoints:
    """Points ``rows`` with coordinates ``xyz``."""
    if not len(rows):
        return UsablePoints(rows, xyz, [], [])
    low, high = torch.stack(torch.aminmax(xyz, dim=0)).tolist()  # reads back
    return UsablePoints(rows, xyz, low, high)


def usable_points(xyz: Tensor, grid_size: float, warnings: list[str], unit: Unit = METRE) -> UsablePoints:
    """The points of ``xyz`` float64 (N, 3) that a network can take.

    ``xyz`` and ``grid_size`` are in ``unit``. ``warnings`` gets a sentence on what is left out or looks odd.

    Left out are points with NaN or inf, and, only in a cloud of 2**18 voxels or more a side, points farther from the
    box of the middle 98 % on each axis than ten times its longest side. Raises BadCloud if it stays too wide or too
    high then.
    """
    points = points_at(torch.arange(len(xyz), device=xyz.device), xyz)
    if not all(map(math.isfinite, points.low + points.high)):
        points = points.only(xyz.isfinite().all(1))
        warnings.append(
            f"Points with NaN or infinite coordinates: {len(xyz) - len(points):,}; they get the ignore label."
        )
    if len(points) and max(points.extent) >= VOXELS_A_SIDE * grid_size:
        near = points.only(_near_the_bulk(points.xyz))
        if 0 < len(near) < len(points):
            warnings.append(f"Points far away from all others: {len(points) - len(near):,}; they get the ignore label.")
            points = near
        *across, height = points.extent
        _check_voxels(max(across), MAX_VOXELS_WIDE, "wide", grid_size, unit)
        _check_voxels(height, VOXELS_A_SIDE, "high", grid_size, unit)
    if len(points):
        _warn_of_units(points, grid_size, warnings, unit)
    return points


def _check_voxels(size: float, most: int, how: str, grid_size: float, unit: Unit) -> None:
    if size >= most * grid_size:
        raise BadCloud(
            f"The cloud is {size:g} units {how}, more than {most} voxels of {grid_size:g}; the model expects "
            f"{unit.plural}: check the unit (units= states another) and the order of the columns, or name the format "
            "with format=."
        )


def _near_the_bulk(xyz: Tensor) -> Tensor:
    """bool (N,), the points within ten longest sides of the box between the quantiles of 1 and 99 %."""
    last = len(xyz) - 1
    low, high = (
        torch.stack([axis.kthvalue(place + 1).values for axis in xyz.unbind(1)])
        for place in (math.ceil(last * 0.01), math.floor(last * 0.99))
    )
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    margin = 10 * (high - low).amax()
    return ((xyz >= low - margin) & (xyz <= high + margin)).all(1)


def _warn_of_units(points: UsablePoints, grid_size: float, warnings: list[str], unit: Unit) -> None:
    *across, height = points.extent
    widest = max(points.extent)
    plausible = PLAUSIBLE_EXTENT_M / unit.metres * max(1, grid_size * unit.metres)
    if widest > plausible or 0 < widest < PLAUSIBLE_VOXELS * grid_size:
        warnings.append(
            f"The cloud measures {widest:,.6g} at its widest; are its coordinates in {unit.plural}? The model expects "
            f"{unit.plural} and has voxels of {grid_size * unit.metres:g} m. Other units are stated by units=."
        )
    farthest = [max(-low, high) for low, high in zip(points.low, points.high, strict=True)]
    looks_like_degrees = max(across) < 1 and farthest[0] <= 180 and farthest[1] <= 90
    if looks_like_degrees and height > 20 * max(across):
        warnings.append(
            f"Coordinates look like degrees: the model expects {unit.plural}, so project the cloud first, or say "
            "units=deg."
        )
