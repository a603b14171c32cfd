"""Grid sampling: which voxel of a grid each point lies in, and which points each voxel holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import reference_grid as reference
from .extension import compiled_for
from .reference_grid import HASHES
from .values import need_values

MOST_POINTS = (1 << 31) - 1


@dataclass(frozen=True)
class GridSample:
    """The V voxels of N points, ascending by their keys as unsigned numbers.

    Attributes:
        grid_coord: int64 (N, 3), voxel of each point, from 0 on every axis.
        lowest: int64 (3,), the voxel that became 0.
        order: int64 (N,), points sorted by voxel, in input order within one.
        offsets: int64 (V + 1,), the points of voxel v are at ``offsets[v]`` to ``offsets[v + 1]`` of ``order``.
        inverse: int64 (N,), voxel of each point.
    """

    grid_coord: Tensor
    lowest: Tensor
    order: Tensor
    offsets: Tensor
    inverse: Tensor

    def pick(self, draws: int | Tensor) -> Tensor:
        """int64 (V,), a point of each voxel: the one at place ``draws`` modulo their number, one draw or int64 (V,).

        0 gives the first points in input order. 0, 1 … up to the fullest voxel give the fragments of Pointcept's
        ``GridSample(mode="test")``, draws below the fullest voxel's number at random what ``mode="train"`` keeps.
        """
        return self.order[self.offsets[:-1] + draws % self.offsets.diff()]


def grid_sample(coord: Tensor, grid_size: float | Sequence[float], hash_type: str = "fnv") -> GridSample:
    """The voxels of a grid that points lie in, by the keys and in the order of Pointcept's ``GridSample``.

    Coordinates are divided in float64, whatever their dtype. Voxels whose keys are equal are one. On a GPU it waits
    for the number of voxels.

    Args:
        coord: float32 or float64 (N, 3), contiguous.
        grid_size: edge of a voxel in units of ``coord``, or one an axis.
        hash_type: "fnv" or "ravel", what keys are made by.

    Raises:
        ValueError: wrong shape, dtype, layout, size or name, more than 2**31 - 1 points, a meta tensor; a coordinate is
            not finite or 2**62 voxels from the origin.
    """
    if coord.ndim != 2 or coord.shape[1] != 3 or coord.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"coord must be float32 or float64 (N, 3), got {coord.dtype} {tuple(coord.shape)}")
    if not coord.is_contiguous():
        raise ValueError(f"coord must be contiguous, got strides {coord.stride()} for {tuple(coord.shape)}")
    if len(coord) > MOST_POINTS:
        raise ValueError(f"coord must have at most {MOST_POINTS} points, got {len(coord)}")
    sizes = [float(size) for size in grid_size] if isinstance(grid_size, Sequence) else [float(grid_size)] * 3
    if len(sizes) != 3 or not all(size > 0 and math.isfinite(size) for size in sizes):
        raise ValueError(f"grid_size must be one positive number or three, got {grid_size!r}")
    if hash_type not in HASHES:
        raise ValueError(f"hash_type must be one of {', '.join(HASHES)}, got {hash_type!r}")
    need_values("coord", coord)
    if not len(coord):
        none = torch.zeros(0, dtype=torch.int64, device=coord.device)
        return GridSample(none.view(0, 3), none.new_zeros(3), none, none.new_zeros(1), none)
    operators = torch.ops.sparseops if compiled_for(coord) else reference
    return GridSample(*operators.grid_sample(coord.detach(), sizes, HASHES.index(hash_type)))
