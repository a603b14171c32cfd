"""Context of tiles: the points along a tile's border (its ring), and a tile joined with those of its neighbours.

``ring`` is cut from a tile once it is decoded. ``joined`` puts what the rings of the neighbours hold within a buffer
around a tile, its ``window``, behind its points, as context (``Cloud.num_context``), and says where the survey lies
(``Cloud.frame``). ``within`` is what it takes of a ring, so that the rest of one need not travel.
The answer then depends on the tile, the rings in the order given, and the frame: on nothing else of how the survey was
cut, or in which order its tiles were decoded.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.clouds.cloud import Bounds, Cloud
from app.clouds.columns import STRENGTHS
from app.clouds.rows import by_blocks
from app.clouds.units import Units, differ

CHANNELS = {"rgb": {"color"}, "intensity": {"strength", *STRENGTHS}, "normals": {"normal"}}
"""What models call each channel of a cloud."""
Window = tuple[float, float, float, float]
"""Least x and y, and greatest, in the units of a cloud."""
SIDES = " sides"
"""Column of a ring that no file has: what ``sides`` gives."""
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
    names that the model (``ModelCard.columns``) and the steps on labels read. Points whose coordinates are not finite,
    or outside ``bounds`` by more than ``width_m``, are left out: those of a damaged file lie anywhere, and would take
    its neighbours along. For neighbours that overlap, the ring must be wider than the buffer by as much as they do.
    """
    return read_by(cloud, columns).taken(rows_of_ring(cloud, bounds, width_m))


def read_by(cloud: Cloud, columns: Collection[str]) -> Cloud:
    """``cloud`` with those channels and further columns alone that a ring for a model that reads ``columns`` has."""
    unread = {name: None for name, names in CHANNELS.items() if names.isdisjoint(columns)}
    extra = {name: values for name, values in cloud.extra.items() if name in columns}
    return replace(cloud, extra=extra, warnings=[], columns={}, **unread)  # type: ignore[arg-type]


def rows_of_ring(cloud: Cloud, bounds: Bounds, width_m: float) -> np.ndarray:
    """int64 (M,), the points of ``cloud`` that ``ring`` takes."""
    width = _in_units(cloud.units, width_m)
    low, high = np.array(bounds, np.float64).reshape(2, 3)
    least, most = low - width, high + width
    low_x, low_y, high_x, high_y = inner(bounds, width_m, cloud.units)

    def near(block: slice) -> np.ndarray:
        x, y = cloud.xyz[block, 0], cloud.xyz[block, 1]
        is_inner = (x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)
        rows = np.flatnonzero(~is_inner)
        is_near = np.ones(len(rows), bool)
        for axis, values in enumerate(cloud.xyz[block].take(rows, axis=0).T):  # comparisons are false for NaN
            is_near &= (values >= least[axis]) & (values <= most[axis])
        return block.start + (rows if is_near.all() else rows[is_near])

    return np.concatenate([np.empty(0, np.int64), *by_blocks(len(cloud), near)])


def inner(bounds: Bounds, width_m: float, units: Units | None) -> Window:
    """The rectangle in which a ring of ``width_m`` along the border of ``bounds`` has no points, but on its edge.

    Its least may be greater than its greatest: then all the tile is ring.
    """
    width = _in_units(units, width_m)[:2]
    low, high = np.array(bounds, np.float64).reshape(2, 3)[:, :2]
    return (*(low + width).tolist(), *(high - width).tolist())


def sides(xyz: np.ndarray, inner: Window) -> np.ndarray:
    """uint8 (N,): on which sides of ``inner`` each point of a ring lies, 1 least x, 2 least y, 4 and 8 greatest."""
    x, y = xyz[:, 0], xyz[:, 1]
    is_beyond = (x <= inner[0], y <= inner[1], x >= inner[2], y >= inner[3])
    return sum((each.view(np.uint8) << place for place, each in enumerate(is_beyond)), np.zeros(len(xyz), np.uint8))


@dataclass(frozen=True)
class Strip:
    """What a tile takes of a ring: its ``rows``, int64 (M,). ``place`` is that of the ring among those given."""

    place: int
    rows: np.ndarray


def taken(
    cloud: Cloud,
    rings: Iterable[Cloud],
    bounds: Bounds,
    buffer_m: float,
    columns: Collection[str],
    inners: Sequence[Window | None] | None = None,
) -> tuple[Cloud, list[Strip]]:
    """What ``joined`` takes of each ring, and ``cloud`` as it is then but for its arrays: warnings, full scale of
    intensity, number of points of context, those without colors.

    Rings are looked at one by one. Those for which ``inners`` says what ``inner`` was have the column ``SIDES``, by
    which rows are found faster.
    """
    around = window(bounds, buffer_m, cloud.units)
    strips, warnings, scales = [], list(cloud.warnings), [cloud.intensity_scale]
    num_points, uncolored = len(cloud), list(cloud.uncolored)
    for place, each in enumerate(rings):
        rows = rows_in(each, around, inners[place] if inners else None)
        lacking = _lacking(cloud, each, columns)
        if len(rows) and lacking:
            warnings.append(
                f"A neighbour gives no context, because this tile differs from it in {', '.join(lacking)}: expect "
                "worse labels along the border."
            )
        elif len(rows):
            strips.append(Strip(place, rows))
            scales.append(each.intensity_scale)
            if each.rgb is None and cloud.rgb is not None:
                uncolored.append((num_points, num_points + len(rows)))
            num_points += len(rows)
    num_context = cloud.num_context + num_points - len(cloud)
    scale = max((scale for scale in scales if scale is not None), default=None)
    whole = replace(cloud, warnings=warnings, intensity_scale=scale, num_context=num_context, uncolored=uncolored)
    return whole, strips


def joined(
    cloud: Cloud,
    rings: Sequence[Cloud],
    bounds: Bounds,
    buffer_m: float,
    columns: Collection[str],
    frame: Bounds | None = None,
) -> Cloud:
    """``cloud`` with those points of ``rings`` as context that lie within ``buffer_m`` of its ``bounds``, from above.

    ``rings`` are those of its neighbours, of its coordinate system, always in the same order; ``columns`` are those
    that the model reads; ``frame`` is the box around the whole survey. What the cloud lacks is left out of the context.
    A ring that lacks what the cloud has and the model reads is left out, with a warning, as any stand-in would be
    wrong. Other columns that a ring lacks are 0 in the context, which means unknown as a class and as a normal;
    ``uncolored`` says where colors are.
    """
    whole, strips = taken(cloud, rings, bounds, buffer_m, columns)
    near, rows = [rings[strip.place] for strip in strips], [strip.rows for strip in strips]

    def both(values: np.ndarray, others: Iterable[np.ndarray | None]) -> np.ndarray:
        blank = [np.zeros((len(some), *values.shape[1:]), values.dtype) for some in rows]
        parts = [empty if each is None else each[some] for each, some, empty in zip(others, rows, blank, strict=True)]
        return np.concatenate([values, *parts])

    def channel(name: str) -> np.ndarray | None:
        values = getattr(cloud, name)
        return None if values is None else both(values, [getattr(each, name) for each in near])

    return replace(
        whole,
        xyz=both(cloud.xyz, [each.xyz for each in near]),
        rgb=channel("rgb"),
        intensity=channel("intensity"),
        normals=channel("normals"),
        extra={name: both(values, [each.extra.get(name) for each in near]) for name, values in cloud.extra.items()},
        frame=frame,
    )


def window(bounds: Bounds, buffer_m: float, units: Units | None) -> Window:
    """The rectangle within ``buffer_m`` of the ``bounds`` of a tile whose coordinates have ``units``."""
    buffer = _in_units(units, buffer_m)[:2]
    low, high = np.array(bounds, np.float64).reshape(2, 3)[:, :2]
    return (*(low - buffer).tolist(), *(high + buffer).tolist())


def within(cloud: Cloud, window: Window, inner: Window | None = None) -> Cloud:
    """The points of ``cloud`` in ``window``, seen from above; a copy. ``inner`` as for ``taken``."""
    return cloud.taken(rows_in(cloud, window, inner))


def rows_in(cloud: Cloud, window: Window, inner: Window | None = None) -> np.ndarray:
    """int64 (M,), the points of ``cloud`` in ``window``, seen from above. ``inner`` as for ``taken``."""
    least_x, least_y, most_x, most_y = window
    known = cloud.extra.get(SIDES) if inner else None
    rows: np.ndarray | None = None
    if inner and known is not None:
        is_past = most_x <= inner[0], most_y <= inner[1], least_x >= inner[2], least_y >= inner[3]
        side = np.uint8(sum(past << place for place, past in enumerate(is_past)))
        rows = np.flatnonzero((known & side) == side)

    def found(block: slice) -> np.ndarray:
        some = block if rows is None else rows[block]
        x, y = cloud.xyz[some, 0], cloud.xyz[some, 1]
        is_in = (x >= least_x) & (x <= most_x) & (y >= least_y) & (y <= most_y)
        if rows is None:
            return block.start + np.flatnonzero(is_in)
        return rows[block] if is_in.all() else rows[block][is_in]

    parts = by_blocks(len(cloud) if rows is None else len(rows), found)
    return np.concatenate([np.empty(0, np.int64), *parts])


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


def _in_units(units: Units | None, distance_m: float) -> np.ndarray:
    """float64 (3,), a distance along each axis in ``units``; metres if they are unknown."""
    if units is None:
        return np.full(3, distance_m)
    return distance_m / np.array([axis.metres for axis in units.axes])
