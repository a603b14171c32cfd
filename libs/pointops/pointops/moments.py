"""Moments of neighbours, from which planes through them follow."""

import torch
from torch import Tensor

from . import reference
from .checks import check_devices, check_floats, check_index
from .extension import compiled_for


@torch.no_grad()
def neighbour_moments(idx: Tensor, nsample: int, xyz: Tensor, new_xyz: Tensor) -> Tensor:
    """Mean, covariances and lowest z of the first nsample neighbours of each query, seen from it: float64 (10, m).

    The rows are the means of x, y, z, the covariances xx, xy, xz, yy, yz, zz (divided by the number of neighbours) and
    the least z. Sums go by neighbour in float64, the same bits on every device.

    Args:
        idx: int32 or int64 (m, s), neighbours of each query, rows of ``xyz``; -1 for none.
        nsample: how many of them count, 1 to s.
        xyz: float32 (n, 3), contiguous.
        new_xyz: float32 (m, 3), contiguous, the queries.

    Returns:
        float64 (10, m), in units of ``xyz`` and their squares; 0 for a query without neighbours.

    Raises:
        ValueError: wrong shape, dtype, layout, device or nsample; on the CPU also an index outside of ``xyz``.
    """
    check_floats("xyz", xyz, None, 3)
    check_floats("new_xyz", new_xyz, None, 3)
    check_devices({"xyz": xyz, "new_xyz": new_xyz, "idx": idx})
    index = check_index("idx", idx, xyz.shape[0], new_xyz.shape[0], None)
    if not 1 <= nsample <= idx.shape[1]:
        raise ValueError(f"nsample is {nsample}; idx lists {idx.shape[1]} neighbours, of which 1 or more are taken")
    operators = torch.ops.pointops if compiled_for(xyz) else reference
    return operators.neighbour_moments(xyz, new_xyz, index, int(nsample))
