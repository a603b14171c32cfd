"""Farthest point sampling."""

import torch
from torch import Tensor

from . import reference
from .checks import check_points, check_samples
from .extension import compiled_for


@torch.no_grad()
def farthest_point_sampling(xyz: Tensor, offset: Tensor, new_offset: Tensor) -> Tensor:
    """Samples of every cloud, each the point farthest from those before it; the first is the cloud's first point.

    xyz (n, 3) float32, offset (b,) cumulative counts of points, new_offset (b,) cumulative counts of samples. Returns
    indices (new_offset[-1],) int32, of equally far points the lowest. Points with a coordinate that is not finite come
    last. Raises ValueError for wrong shapes, dtypes, devices, offsets, and on the CPU if an empty cloud has samples.
    """
    offset = check_points("xyz", xyz, offset)
    sample_offset = check_samples(xyz, offset, new_offset)
    operators = torch.ops.pointops if compiled_for(xyz) else reference
    return operators.farthest_point_sampling(xyz, offset, sample_offset, int(sample_offset[-1]))
