"""Farthest point sampling."""

import torch
from torch import Tensor

from . import reference
from .checks import check_points, check_samples
from .extension import compiled_for


@torch.no_grad()
def farthest_point_sampling(xyz: Tensor, offset: Tensor, new_offset: Tensor) -> Tensor:
    """Samples of every cloud, each the point farthest from those before it; the first is the cloud's first point.

    Of equally far points the one of lowest index comes first, points with a coordinate that is not finite come last.

    Args:
        xyz: float32 (n, 3), contiguous, cloud after cloud.
        offset: int32 or int64 (b,), cumulative counts of points by cloud.
        new_offset: int32 or int64 (b,), cumulative counts of samples.

    Returns:
        Indices int32 (new_offset[-1],), rows of ``xyz``.

    Raises:
        ValueError: wrong shape, dtype, layout, device or offsets; on the CPU also samples of an empty cloud.
    """
    offset = check_points("xyz", xyz, offset)
    sample_offset = check_samples(xyz, offset, new_offset)
    operators = torch.ops.pointops if compiled_for(xyz) else reference
    return operators.farthest_point_sampling(xyz, offset, sample_offset, int(sample_offset[-1]))
