"""The nearest points of each, also of many at one place."""

import torch
from pointops import knn_query
from torch import Tensor


def nearest(number: int, coord: Tensor) -> tuple[Tensor, Tensor]:
    """The ``number`` points nearest to each of ``coord`` float32 (N, 3), as ``pointops.knn_query`` gives them.

    Of points at one place only the first ``number`` are searched, which gives the same: otherwise each of them would
    look at all others.
    """
    bits = coord.view(torch.int32).long()
    spot = ((bits[:, 0] << 32) | (bits[:, 1] & 0xFFFFFFFF)).unique(return_inverse=True)[1]
    spot, order = ((spot << 32) | (bits[:, 2] & 0xFFFFFFFF)).sort(stable=True)
    is_searched = torch.ones_like(spot, dtype=torch.bool)
    is_searched[number:] = spot[number:] != spot[:-number]
    ends = torch.full((1,), len(coord), device=coord.device)
    if bool(is_searched.all()):
        return knn_query(number, coord, ends)
    searched = order[is_searched].sort().values
    rows, distance_m = knn_query(number, coord[searched], torch.full_like(ends, len(searched)), coord, ends)
    return torch.cat([searched, searched.new_full((1,), -1)]).int()[rows], distance_m
