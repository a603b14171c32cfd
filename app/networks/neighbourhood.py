"""Nearest neighbours of points within their cloud, and interpolation between levels."""

from dataclasses import dataclass

import torch
from pointops import grouping2, knn_query
from torch import Tensor

from .voxel_batch import VoxelBatch


@dataclass(frozen=True)
class Neighbours:
    """The nearest points of every query.

    Attributes:
        index: int32 (m, s), rows of the points, nearest first; -1 if the cloud has too few.
        relative: float32 (m, s, 3), their positions relative to the query; 0 if there is none.
    """

    index: Tensor
    relative: Tensor

    def nearest(self, count: int) -> "Neighbours":
        """The first ``count`` of every query."""
        if count == self.index.shape[1]:
            return self
        return Neighbours(self.index[:, :count].contiguous(), self.relative[:, :count].contiguous())


@dataclass(frozen=True)
class Interpolation:
    """From the points of a coarse level to those of a fine one: ``index`` int32 (n, 3) and ``weight`` (n, 3)."""

    index: Tensor
    weight: Tensor

    def of(self, features: Tensor) -> Tensor:  # (m, C) -> (n, C)
        """Features of the three nearest coarse points, weighted by the inverse of their distance."""
        return (grouping2(features, self.index) * self.weight[..., None]).sum(1)


def positions(batch: VoxelBatch, network: str) -> Tensor:
    """The batch's positions, which ``network`` plans for."""
    if batch.coord is None:
        raise ValueError(f"{network} plans for positions, and the batch has voxels only")
    return batch.coord


def cloud_ends(numbers: Tensor, num_clouds: int | None = None) -> Tensor:
    """Cumulative counts int64 (B,) of the points of every cloud, from their ascending numbers, int64 (n,).

    Unless ``num_clouds`` is known, the device is read for it.
    """
    if num_clouds is None:
        num_clouds = int(numbers[-1]) + 1 if len(numbers) else 0
    return torch.searchsorted(numbers.contiguous(), torch.arange(num_clouds, device=numbers.device), right=True)


def nearest(
    count: int, coord: Tensor, ends: Tensor, queries: Tensor | None = None, query_ends: Tensor | None = None
) -> Neighbours:
    """The ``count`` nearest points of each query, by default of each point; coord (n, 3), ends (B,)."""
    index, _ = knn_query(count, coord, ends, queries, query_ends)
    centres = coord if queries is None else queries
    relative = (grouping2(coord, index) - centres[:, None]) * (index >= 0)[..., None]
    return Neighbours(index, relative)


def interpolation(coarse: Tensor, coarse_ends: Tensor, fine: Tensor, fine_ends: Tensor) -> Interpolation:
    """From ``coarse`` (m, 3) to ``fine`` (n, 3). Missing ones of three coarse points count as 0, far away."""
    index, distance = knn_query(3, coarse, coarse_ends, fine, fine_ends)
    weight = 1 / (distance + 1e-8)
    return Interpolation(index, weight / weight.sum(1, keepdim=True))


def with_start(ends: Tensor) -> Tensor:
    """``ends`` (B,) as the borders of segments, (B + 1,) from 0."""
    return torch.cat([ends.new_zeros(1), ends])


def softmax(scores: Tensor) -> Tensor:  # (n, s, C) -> (n, s, C)
    """Over the neighbours. (Torch's own rounds by how many threads share the rows.)"""
    weight = (scores - scores.amax(1, keepdim=True)).exp_()
    return weight.div_(weight.sum(1, keepdim=True))
