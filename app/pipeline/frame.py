"""The frame of a cloud: the box by whose corners grids are laid out, local origins and heights among them.

Shifts to the middle or the lowest corner, voxels, their halvings, and rasters all begin at corners of the box around a
cloud. A cloud that is a part of a survey has the box of the survey for a frame, so that they lie as they would in the
survey as one cloud, wherever it was cut. In a sample the frame is an entry: its eight corners, which move as points do.
"""

from fractions import Fraction
from itertools import product
from math import ceil, floor, lcm
from typing import Any

import numpy as np
from torch import Tensor

from app.clouds.cloud import Cloud

from . import unit_conversion
from .procedure import DEFAULT_GRID_SIZE, InferenceProcedure
from .run_context import RunContext
from .tiling import ALIGNMENT
from .upload import upload
from .usable_points import UsablePoints

LOCAL_ORIGIN_FROM = 8192.0
FINEST = 10**6  # denominators of grid sizes and cells


def local(
    cloud: Cloud, points: UsablePoints, procedure: InferenceProcedure, is_read: bool
) -> tuple[Tensor, Tensor | None]:
    """Coordinates float32 (M, 3) of the ``points`` from a local origin, and the corners (8, 3) of the frame, if any.

    The origin is the lower corner of the frame, or of the box around the points, if one of their coordinates is beyond
    ±8192, because float32 has steps of a millimetre there. ``is_read`` says that the network reads coordinates.
    """
    low, high, xyz = points.low, points.high, points.xyz
    if cloud.frame is not None:
        stated = upload(np.array(cloud.frame).reshape(2, 3), xyz.device)
        frame = unit_conversion.in_unit(stated, cloud.units, procedure.unit, RunContext([])).tolist()
        low, high = _near(frame, points, _period(procedure, 0 if is_read else LOCAL_ORIGIN_FROM))
    corners = np.array(list(product(*zip(low, high, strict=True))))
    if max(map(abs, low + high)) > LOCAL_ORIGIN_FROM:
        origin = np.floor(low)
        xyz, corners = xyz - upload(origin, xyz.device), corners - origin
    return xyz.float(), None if cloud.frame is None else upload(corners, xyz.device).float()


def _near(frame: list[list[float]], points: UsablePoints, period: float) -> tuple[list[float], list[float]]:
    """Corners around the points that lie whole periods from those of ``frame``."""
    low = [at + period * floor((own - at) / period) for at, own in zip(frame[0], points.low, strict=True)]
    high = [at + period * ceil((own - at) / period) for at, own in zip(frame[1], points.high, strict=True)]
    return low, high


def _period(procedure: InferenceProcedure, least: float) -> float:
    """A distance of at least ``least`` after which all grids of the procedure repeat, and those half as fine."""
    edges = [2 * ALIGNMENT * _exactly(edge) for edge in np.ravel(procedure.grid_size).tolist()]
    edges += [2 * edge for transform in procedure.transform for edge in _edges(transform)]
    common = lcm(*(edge.denominator for edge in edges))
    once = Fraction(lcm(*(int(edge * common) for edge in edges)), common)
    return float(once * max(1, ceil(least / once)))


def _edges(transform: dict[str, Any]) -> list[Fraction]:
    edges = [value for key, value in transform.items() if key.endswith("cell_m")]
    if transform["type"] == "GridSample":
        edges.append(transform.get("grid_size", DEFAULT_GRID_SIZE))
    return [_exactly(edge) for each in edges for edge in np.ravel(each).tolist()]


def _exactly(edge: float) -> Fraction:
    return Fraction(edge).limit_denominator(FINEST)
