"""The nearest points of each, also of many at one place."""

import torch
from pointops import knn_query
from torch import Tensor

MULTIPLIER = -1640531535  # odd, with bits that follow no pattern
FEW = 64  # at one place, which do no harm


def nearest(number: int, coord: Tensor) -> tuple[Tensor, Tensor]:
    """The ``number`` points nearest to each of ``coord`` float32 (N, 3), as ``pointops.knn_query`` gives them.

    Of points at one place only the first ``number`` are searched, which gives the same: otherwise each of them would
    look at all others.
    """
    ends = torch.full((1,), len(coord), device=coord.device)
    if not _may_crowd(coord):
        return knn_query(number, coord, ends)
    bits = coord.view(torch.int32).long()
    spot = ((bits[:, 0] << 32) | (bits[:, 1] & 0xFFFFFFFF)).unique(return_inverse=True)[1]
    spot, order = ((spot << 32) | (bits[:, 2] & 0xFFFFFFFF)).sort(stable=True)
    is_searched = torch.ones_like(spot, dtype=torch.bool)
    is_searched[number:] = spot[number:] != spot[:-number]
    searched = order[is_searched].sort().values
    rows, distance_m = knn_query(number, coord[searched], torch.full_like(ends, len(searched)), coord, ends)
    return torch.cat([searched, searched.new_full((1,), -1)]).int()[rows], distance_m


def _may_crowd(coord: Tensor) -> bool:
    """Whether more than a few of the points ``coord`` float32 (N, 3) may be at one place.

    They are counted by a hash of their places; to sort the places takes eight times as long.
    """
    num_buckets = 1 << (len(coord) // 4).bit_length()  # for two to four points each
    mixed = coord.new_zeros(len(coord), dtype=torch.int32)
    for axis in range(3):
        mixed = (mixed ^ coord.view(torch.int32)[:, axis]).mul_(MULTIPLIER)
        mixed ^= mixed >> 15
    counts = mixed.new_zeros(num_buckets)
    counts.scatter_add_(0, mixed.bitwise_and_(num_buckets - 1).long(), counts.new_ones(1).expand(len(coord)))
    return bool((counts > FEW).any())
