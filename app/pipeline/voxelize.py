"""Voxels of points, with the keys, the order and the counts of Pointcept's ``GridSample``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import sparseops
from sparseops import HASHES
from torch import Tensor

from app.errors import BadCloud, BadModel

from .procedure import DEFAULT_GRID_SIZE
from .sample import Sample, take
from .upload import upload

ROTATED = 1e-9  # voxels


@dataclass(frozen=True)
class Voxels:
    """The voxels of N points, in the order of ascending keys.

    Attributes:
        grid_coord: int64 (N, 3), voxel of each point, starting at 0 on every axis unless ``aligned``.
        order: int64 (N,), points sorted by voxel, in input order within one.
        starts: int64 (V,), place in ``order`` of the first point of each voxel.
        counts: int64 (V,), points of each voxel.
        inverse: int64 (N,), voxel of each point.
        lowest: int64 (3,), the voxel coordinates that became, or would become, 0.
        grid_size: float64 (3,), edges of a voxel.
    """

    grid_coord: Tensor
    order: Tensor
    starts: Tensor
    counts: Tensor
    inverse: Tensor
    lowest: Tensor
    grid_size: Tensor

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def fullest(self) -> int:
        """Points of the fullest voxel; on a GPU it is waited for, once."""
        return int(self.counts.amax())

    def aligned(self, corner: Tensor, alignment: int) -> "Voxels":
        """The voxels with coordinates counted from the voxel of ``corner`` (3,), less a multiple of ``alignment``.

        A corner that a rotation moved off the border of a voxel, by the rounding of float64, counts as upon it.
        """
        first = (corner.double() / self.grid_size + ROTATED).floor_().long()
        ahead = (self.lowest - first) % alignment
        return replace(self, grid_coord=self.grid_coord + ahead, lowest=self.lowest - ahead)

    def first_points(self) -> Tensor:
        """int64 (V,), the first point of each voxel in input order."""
        return self.order[self.starts]

    def fragment(self, number: int) -> Tensor:
        """int64 (V,), the point ``number``, modulo their count, of each voxel in input order."""
        return self.order[self.starts + number % self.counts]

    def random_points(self, rng: np.random.RandomState) -> Tensor:
        """int64 (V,), one point of each voxel, drawn as ``GridSample(mode="train")`` draws."""
        draws = upload(rng.randint(0, self.fullest, len(self)), self.counts.device)
        return self.order[self.starts + draws % self.counts]

    def displacement(self, coord: Tensor, rows: Tensor) -> Tensor:
        """float64 (R, 3), place of the points ``rows`` of ``coord`` in their voxels in units of a voxel, ±0.5."""
        return coord.index_select(0, rows) / self.grid_size - self.lowest - self.grid_coord.index_select(0, rows) - 0.5

    def fragments(self) -> Iterator[Tensor]:
        """int64 (V,) each: fragment i holds point i modulo the count of every voxel, until every point was in one."""
        for i in range(self.fullest):
            yield self.fragment(i)


def voxelize(coord: Tensor, grid_size: float | Sequence[float], hash_type: str = "fnv") -> Voxels:
    """Voxels of ``grid_size`` (one edge, or one an axis) of float ``coord`` (N, 3), N > 0; divided in float64.

    Raises BadModel for an unknown ``hash_type`` or a grid size that is not positive, BadCloud for coordinates without
    a voxel.
    """
    if hash_type not in HASHES:
        raise BadModel(f"GridSample: hash_type {hash_type!r} is unknown; known are {', '.join(HASHES)}")
    size = np.asarray(grid_size, np.float64)
    if size.shape not in ((), (3,)) or not ((size > 0) & np.isfinite(size)).all():
        raise BadModel(f"GridSample: grid_size must be one positive number or three, got {grid_size!r}")
    size = np.broadcast_to(size, 3)
    try:
        found = sparseops.grid_sample(coord.contiguous(), tuple(size), hash_type)
    except ValueError as error:
        raise BadCloud(f"The points cannot be put into voxels of {size.min():g}: {error}") from None
    edges = upload(np.array(size), coord.device)
    starts, counts = found.offsets[:-1], found.offsets.diff()
    return Voxels(found.grid_coord, found.order, starts, counts, found.inverse, found.lowest, edges)


def grid_sample(
    sample: Sample,
    *,
    grid_size: float | Sequence[float] = DEFAULT_GRID_SIZE,
    hash_type: str = "fnv",
    mode: str = "train",
    keys: tuple[str, ...] | None = None,
    return_inverse: bool = False,
    return_grid_coord: bool = False,
    return_min_coord: bool = False,
    return_displacement: bool = False,
    project_displacement: bool = False,
    rng: np.random.RandomState,
) -> Sample:
    """``GridSample(mode="train")``: one random point a voxel.

    ``keys`` (of old configs) is ignored: every per-point column is thinned. ``mode="test"`` gives many samples, so
    it is no step of a chain: see ``voxelize`` and ``Voxels.fragments``.
    """
    if mode != "train":
        raise BadModel(f"GridSample: mode={mode!r} stands only in test_cfg.voxelize; among the transforms use 'train'")
    voxels = voxelize(sample["coord"], grid_size, hash_type)
    chosen = voxels.random_points(rng)
    out = take(sample, chosen)
    if return_inverse:
        out["inverse"] = voxels.inverse
    if return_grid_coord:
        out["grid_coord"] = voxels.grid_coord.index_select(0, chosen)
    if return_min_coord:
        out["min_coord"] = (voxels.lowest * voxels.grid_size).reshape(1, 3)
    if return_displacement:
        out["displacement"] = voxels.displacement(sample["coord"], chosen)
        if project_displacement:
            out["displacement"] = (out["displacement"] * out["normal"]).sum(1, keepdim=True)
    return out
