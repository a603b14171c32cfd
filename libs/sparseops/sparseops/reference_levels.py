"""Levels of coarser voxels in plain torch: right on every device, the measure for compiled ones.

Arguments are those of the operators of the same name under ``torch.ops.sparseops``; they are checked by the callers.
"""

import torch
from torch import Tensor

MAX_CLOUDS = 512


def cloud_extents(coords: Tensor) -> Tensor:
    """int32 (MAX_CLOUDS + 1, 2): of every cloud the number of voxels and the largest coordinate.

    The last row holds how many voxels have a coordinate below 0 or are of no cloud in [0, MAX_CLOUDS), and 0.
    """
    right = (coords >= 0).all(1) & (coords[:, 0] < MAX_CLOUDS)
    place = torch.where(right, coords[:, 0], MAX_CLOUDS)
    largest = torch.where(right, coords[:, 1:].amax(1).clamp(max=(1 << 31) - 1), 0)
    extents = coords.new_zeros(MAX_CLOUDS + 1, 2)
    extents[:, 0].scatter_add_(0, place, torch.ones_like(place))
    extents[:, 1].scatter_reduce_(0, place, largest, "amax")
    return extents.int()


def coarse_ranks(coords: Tensor, shifts: Tensor) -> Tensor:
    """int32 (L, V): how many rows up to each are the first of a voxel of a level, counted on through all levels."""
    first = torch.ones(len(shifts), len(coords), dtype=torch.bool, device=coords.device)
    differing = coords[1:] ^ coords[:-1]
    of_row = shifts[:, coords[1:, 0].clamp(0, shifts.shape[1] - 1)]
    first[:, 1:] = (differing[:, 0] != 0) | ((differing[:, 1:] >> of_row[:, :, None]) != 0).any(2)
    return first.flatten().cumsum(0).view(first.shape).int()


def coarse_rows(coords: Tensor, ranks: Tensor, shifts: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """int64: voxels (sum of sizes, 4), parents and starts of all levels, one after the other."""
    coarse, parents, starts = [], [], []
    begin, finer = 0, torch.arange(len(coords), device=coords.device)  # of a level's rows, the first finest one
    for level, size in enumerate(sizes):
        rank = ranks[level].long() - begin - 1
        parents.append(rank[finer])
        firsts = torch.searchsorted(parents[-1], torch.arange(size, device=coords.device))
        starts += [firsts, firsts.new_full((1,), len(finer))]
        finer, begin = finer[firsts], begin + size
        shift = shifts[level][coords[finer, 0]]
        coarse.append(torch.cat([coords[finer, :1], coords[finer, 1:] >> shift[:, None]], 1))
    none = coords[:0, 0]
    return torch.cat([coords[:0], *coarse]), torch.cat([none, *parents]), torch.cat([none, *starts])


def coarse_orders(orders: Tensor, parents: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """int32: the order of every level along K curves, (K, size), level after level, and its inverse."""
    finer_sizes = [orders.shape[1], *sizes[:-1]][: len(sizes)]
    found, inverses, orders = [], [], orders.long()
    for size, of_finer in zip(sizes, parents.split(finer_sizes), strict=True):
        along = of_finer[orders]
        first = torch.ones_like(along, dtype=torch.bool)
        first[:, 1:] = along[:, 1:] != along[:, :-1]
        orders = along[first].view(len(orders), size)
        places = torch.arange(size, device=orders.device).expand_as(orders)
        found.append(orders.flatten())
        inverses.append(torch.empty_like(orders).scatter_(1, orders, places).flatten())
    none = orders.new_empty(0)
    return torch.cat([none, *found]).int(), torch.cat([none, *inverses]).int()
