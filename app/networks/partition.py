"""A partition of rows into groups of equal keys, and reductions over each."""

from dataclasses import dataclass

import torch
from sparseops import segment_reduce
from torch import Tensor


@dataclass(frozen=True)
class Partition:
    """V rows in P parts, none of them empty.

    Attributes:
        part: int64 (V,), the part of every row.
        order: int64 (V,), the rows such that those of a part are consecutive, in their own order.
        starts: int64 (P + 1,), the begin of each part in ``order``.
    """

    part: Tensor
    order: Tensor
    starts: Tensor

    def reduce(self, values: Tensor, reduction: str) -> Tensor:  # (V, C) -> (P, C)
        """The "sum", "mean", "max" or "min" of every part."""
        return segment_reduce(values[self.order], self.starts, reduction)

    def spread(self, values: Tensor, reduction: str) -> Tensor:  # (V, C) -> (V, C)
        """For every row the reduction over its part."""
        return self.reduce(values, reduction)[self.part]


def partition(keys: Tensor) -> Partition:
    """Rows of equal keys, int64 (V,), in one part; parts ascend by key."""
    _, part, counts = keys.unique(return_inverse=True, return_counts=True)
    return Partition(part, part.argsort(stable=True), torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
