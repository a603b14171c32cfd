"""Context between the tiles of a survey: the points along a tile's border, and a tile with those of its neighbours.

``ring`` is cut from a tile once it is decoded. ``joined`` puts what the rings of the neighbours hold within a buffer
around a tile, its ``window``, behind its points, as context (``Cloud.num_context``), and says where the survey lies
(``Cloud.frame``). ``within`` is what it takes of a ring, so that the rest of one need not travel.
The answer then depends on the tile, the rings in the order given, and the frame: on nothing else of how the survey was
cut, or in which order its tiles were decoded.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from app.clouds.cloud import Cloud
from app.clouds.columns import STRENGTHS
from app.clouds.units import Units, differ
from app.survey.tile import Bounds

CHANNELS = {"rgb": {"color"}, "intensity": {"strength", *STRENGTHS}, "normals": {"normal"}}
"""What models call each channel of a cloud."""
Window = tuple[float, float, float, float]
"""Least x and y, and greatest, in the units of a cloud."""
LAS = ("las", "laz")  # their intensity has the least full scale that holds all values of a file


def ring_width(bounds: Bounds, others: np.ndarray, buffer: float) -> float:
    """Width of the ring of a tile that has all its points within ``buffer`` of tiles with the bounds ``others``.

    All are in units of the file; ``others`` float64 (N, 6), which may overlap the tile.
    """
    low, high = np.array(bounds).reshape(2, 3)[:, :2]
    first, last = np.maximum(low, others[:, :2] - buffer), np.minimum(high, others[:, 3:5] + buffer)
    middle = np.clip((low + high) / 2, first, last)
    return max(0.0, float(np.minimum(middle - low, high - middle).min(1).max()))


def ring(cloud: Cloud, bounds: Bounds, width_m: float, columns: Collection[str]) -> Cloud:
    """The points of ``cloud`` within ``width_m`` of the border of ``bounds``, seen from above, as a cloud of its own.

    ``bounds`` have the unit of ``Cloud.xyz``. Of channels and further columns the ring has those among ``columns``, the
    names that the model reads (``ModelCard.columns``). Points whose coordinates are not finite, or outside ``bounds``
    by more than ``width_m``, are left out: those of a damaged file lie anywhere, and would take its neighbours along.
    For neighbours that overlap, the ring must be wider than the buffer by as much as they do.
    """
    width = _in_units(cloud.units, width_m)
    low, high = np.array(bounds, np.float64).reshape(2, 3)
    is_near, is_inner = np.ones((2, len(cloud)), bool)
    for axis, values in enumerate(cloud.xyz.T):  # comparisons are false for NaN
        is_near &= (values >= low[axis] - width[axis]) & (values <= high[axis] + width[axis])
        if axis < 2:
            is_inner &= (values > low[axis] + width[axis]) & (values < high[axis] - width[axis])
    rows = np.flatnonzero(is_near & ~is_inner)
    unread = {name: None for name, names in CHANNELS.items() if names.isdisjoint(columns)}
    extra = {name: values for name, values in cloud.extra.items() if name in columns}
    return replace(cloud, extra=extra, warnings=[], columns={}, **unread).taken(rows)  # type: ignore[arg-type]


def joined(
    cloud: Cloud,
    rings: Sequence[Cloud],
    bounds: Bounds,
    buffer_m: float,
    columns: Collection[str],
    frame: Bounds | None = None,
) -> Cloud:
    """``cloud`` with those points of ``rings`` as context that lie within ``buffer_m`` of its ``bounds``, from above.

    ``rings`` are those of its neighbours, of its coordinate system, always in the same order; ``columns`` as in
    ``ring``; ``frame`` is the box around the whole survey. What the cloud lacks is left out of the context. A ring that
    lacks what the cloud has and the model reads is left out, with a warning, as any stand-in would be wrong. Columns
    that the model does not read are 0 in the context.
    """
    cloud = replace(cloud, warnings=list(cloud.warnings), frame=frame)
    around = window(bounds, buffer_m, cloud.units)
    strips = []
    for each in rings:
        strip = within(each, around)
        lacking = _lacking(cloud, each, columns)
        if len(strip) and lacking:
            cloud.warnings.append(
                f"A neighbour gives no context, because this tile differs from it in {', '.join(lacking)}: expect "
                "worse labels along the border."
            )
        elif len(strip):
            strips.append(strip)
    return _with_context(cloud, strips) if strips else cloud


def window(bounds: Bounds, buffer_m: float, units: Units | None) -> Window:
    """The rectangle within ``buffer_m`` of the ``bounds`` of a tile whose coordinates have ``units``."""
    buffer = _in_units(units, buffer_m)[:2]
    low, high = np.array(bounds, np.float64).reshape(2, 3)[:, :2]
    return (*(low - buffer).tolist(), *(high + buffer).tolist())


def within(cloud: Cloud, window: Window) -> Cloud:
    """The points of ``cloud`` in ``window``, seen from above; a copy."""
    least_x, least_y, most_x, most_y = window
    x, y = cloud.xyz[:, 0], cloud.xyz[:, 1]
    return cloud.taken(np.flatnonzero((x >= least_x) & (x <= most_x) & (y >= least_y) & (y <= most_y)))


def _lacking(cloud: Cloud, other: Cloud, columns: Collection[str]) -> list[str]:
    """What the model reads of ``cloud`` and cannot read of ``other`` alike."""
    names = [name for name, read_as in CHANNELS.items() if not read_as.isdisjoint(columns)]
    lacking = [name for name in names if getattr(cloud, name) is not None and getattr(other, name) is None]
    lacking += [name for name in cloud.extra if name in columns and name not in other.extra]
    if "intensity" in names and not lacking and cloud.intensity is not None and not _share_scale(cloud, other):
        lacking.append("the scale of intensity")
    if cloud.units and other.units and differ(cloud.units, other.units):
        lacking.append("units")
    return lacking


def _share_scale(cloud: Cloud, other: Cloud) -> bool:
    """Whether numbers of intensity mean the same in both: that they have one scale, or are both of LAS."""
    return cloud.intensity_scale == other.intensity_scale or (cloud.format in LAS and other.format in LAS)


def _with_context(cloud: Cloud, strips: Sequence[Cloud]) -> Cloud:
    """``cloud`` and behind it the ``strips``; the full scale of intensity is the largest of all."""
    num_context = sum(map(len, strips))

    def both(values: np.ndarray, others: Sequence[np.ndarray | None]) -> np.ndarray:
        blank = [np.zeros((len(strip), *values.shape[1:]), values.dtype) for strip in strips]
        parts = [empty if part is None else part for part, empty in zip(others, blank, strict=True)]
        return np.concatenate([values, *parts])

    def channel(name: str) -> np.ndarray | None:
        values = getattr(cloud, name)
        return None if values is None else both(values, [getattr(strip, name) for strip in strips])

    scales = [each.intensity_scale for each in (cloud, *strips) if each.intensity_scale is not None]
    return replace(
        cloud,
        xyz=np.concatenate([cloud.xyz, *(strip.xyz for strip in strips)]),
        rgb=channel("rgb"),
        intensity=channel("intensity"),
        intensity_scale=max(scales, default=None),
        normals=channel("normals"),
        extra={name: both(values, [strip.extra.get(name) for strip in strips]) for name, values in cloud.extra.items()},
        num_context=num_context,
    )


def _in_units(units: Units | None, distance_m: float) -> np.ndarray:
    """float64 (3,), a distance along each axis in ``units``; metres if they are unknown."""
    if units is None:
        return np.full(3, distance_m)
    return distance_m / np.array([axis.metres for axis in units.axes])
