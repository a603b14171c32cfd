"""PointTransformer-Seg26, 38 and 50, Point Transformer V1: inference only, with Pointcept's parameter names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pointops import aggregation, farthest_point_sampling, grouping2
from sparseops import segment_reduce
from torch import Tensor, nn
from torch.nn import functional

from .layers import Layers, concatenate_chunks
from .neighbourhood import Interpolation, Neighbours, cloud_ends, interpolation, nearest, positions, softmax, with_start
from .network import Network, output_widths
from .voxel_batch import VoxelBatch

NEIGHBOURS = (8, 16, 16, 16, 16)  # of a point on every level, from fine to coarse
STRIDE = 4  # points of a level for one of the next
SHARED = 8  # channels that share an attention weight
CHUNK_POINTS = 1 << 14


@dataclass(frozen=True)
class PointLevel:
    """A level and the ways to it.

    Attributes:
        near: of every point; a missing neighbour has the index n, that of a row of zeros below the features.
        down: of every point, those of the finer level that it gathers, likewise; None on the finest level.
        up: from this level to the finer one; None on the finest level.
    """

    near: Neighbours
    down: Neighbours | None = None
    up: Interpolation | None = None


@dataclass(frozen=True)
class PointTransformerV1Plan:
    """``levels`` from fine to coarse; of the coarsest, the clouds' borders int64 (B + 1,) and each point's cloud."""

    levels: list[PointLevel]
    borders: Tensor
    clouds: Tensor


class VectorAttention(nn.Module):
    """Vector attention among neighbours, positions in scores and values."""

    def __init__(self, channels: int):
        super().__init__()
        shared = channels // SHARED
        self.linear_q = nn.Linear(channels, channels)
        self.linear_k = nn.Linear(channels, channels)
        self.linear_v = nn.Linear(channels, channels)
        self.linear_p = Layers(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, channels))
        self.linear_w = Layers(
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Linear(channels, shared),
            nn.BatchNorm1d(shared),
            nn.ReLU(),
            nn.Linear(shared, shared),
        )

    def forward(self, x: Tensor, near: Neighbours) -> Tensor:  # (n, C) -> (n, C)
        key, value = zero_row(self.linear_k(x)), zero_row(self.linear_v(x))

        def attend(query: Tensor, index: Tensor, relative: Tensor) -> Tensor:
            position = self.linear_p(relative)  # (m, s, C)
            scores = self.linear_w(grouping2(key, index) - query[:, None] + position)  # (m, s, C / SHARED)
            return aggregation(value, position, softmax(scores), index)

        return concatenate_chunks(CHUNK_POINTS, attend, self.linear_q(x), near.index, near.relative)


class Bottleneck(nn.Module):
    """Attention between two linear layers, beside a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.linear1 = nn.Linear(channels, channels, bias=False)
        self.bn1 = nn.BatchNorm1d(channels)
        self.transformer = VectorAttention(channels)
        self.bn2 = nn.BatchNorm1d(channels)
        self.linear3 = nn.Linear(channels, channels, bias=False)
        self.bn3 = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor, level: PointLevel) -> Tensor:  # (n, C) -> (n, C)
        out = torch.relu(self.bn1(self.linear1(x)))
        out = torch.relu(self.bn2(self.transformer(out, level.near)))
        return torch.relu(self.bn3(self.linear3(out)) + x)


class Down(nn.Module):
    """The maximum over the neighbours on the finer level; on the finest a linear layer."""

    def __init__(self, in_channels: int, channels: int, finest: bool):
        super().__init__()
        self.linear = nn.Linear(in_channels if finest else 3 + in_channels, channels, bias=False)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor, level: PointLevel) -> Tensor:  # (finer n, in) -> (n, C)
        if level.down is None:
            return self.rows(x)
        padded = zero_row(x)

        def pool(index: Tensor, relative: Tensor) -> Tensor:
            gathered = torch.cat([relative, grouping2(padded, index)], 2)
            return self.rows(gathered.flatten(0, 1)).unflatten(0, index.shape).amax(1)

        return concatenate_chunks(CHUNK_POINTS, pool, level.down.index, level.down.relative)

    def rows(self, x: Tensor) -> Tensor:
        """Linear layer, norm and ReLU of each row."""
        return torch.relu(self.bn(self.linear(x)))


class GlobalContext(nn.Module):
    """On the coarsest level: the features beside the mean of their cloud."""

    def __init__(self, channels: int):
        super().__init__()
        self.linear1 = Layers(nn.Linear(2 * channels, channels), nn.BatchNorm1d(channels), nn.ReLU())
        self.linear2 = Layers(nn.Linear(channels, channels), nn.ReLU())

    def forward(self, x: Tensor, plan: PointTransformerV1Plan) -> Tensor:  # (n, C) -> (n, C)
        mean = self.linear2(segment_reduce(x, plan.borders, "mean"))
        return self.linear1(torch.cat([x, mean[plan.clouds]], 1))


class Up(nn.Module):
    """Features of the coarser level, interpolated, and those that the encoder left."""

    def __init__(self, coarse_channels: int, channels: int):
        super().__init__()
        self.linear1 = Layers(nn.Linear(channels, channels), nn.BatchNorm1d(channels), nn.ReLU())
        self.linear2 = Layers(nn.Linear(coarse_channels, channels), nn.BatchNorm1d(channels), nn.ReLU())

    def forward(self, skip: Tensor, coarse: Tensor, up: Interpolation) -> Tensor:  # (n, C), (m, D) -> (n, C)
        return self.linear1(skip) + up.of(self.linear2(coarse))


class PointStage(nn.ModuleList):
    """What leads to a level, and its blocks."""

    def forward(self, x: Tensor, level: PointLevel) -> Tensor:
        """The blocks; the step that leads to the level is called apart from them."""
        for block in self[1:]:
            x = block(x, level)
        return x


class PointTransformerV1(Network):
    """What Seg26, 38 and 50 share.

    Args:
        in_channels: width of the input features.
        num_classes: width of the output.
        planes: widths of the levels, from fine to coarse, multiples of 8; read from the weights.
    """

    blocks: tuple[int, ...]

    def __init__(self, in_channels: int = 6, num_classes: int = 13, planes: Sequence[int] = (32, 64, 128, 256, 512)):
        super().__init__()
        if len(planes) != len(self.blocks) or any(width % SHARED for width in planes):
            raise ValueError(f"planes must be {len(self.blocks)} multiples of {SHARED}, got {list(planes)}")
        widths = [in_channels, *planes]
        for place, (width, depth) in enumerate(zip(planes, self.blocks, strict=True)):
            down = Down(widths[place], width, finest=place == 0)
            up = GlobalContext(width) if place == len(planes) - 1 else Up(planes[place + 1], width)
            setattr(self, f"enc{place + 1}", PointStage([down, *(Bottleneck(width) for _ in range(depth))]))
            setattr(self, f"dec{place + 1}", PointStage([up, Bottleneck(width)]))
        self.out_channels = planes[0]
        self.cls = Layers(
            nn.Linear(planes[0], planes[0]), nn.BatchNorm1d(planes[0]), nn.ReLU(), nn.Linear(planes[0], num_classes)
        )

    @classmethod
    def arguments_from_weights(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """``planes``, the widths of the levels, as the weights have them."""
        planes = output_widths(weights, *(f"enc{level}.0.linear.weight" for level in range(1, len(cls.blocks) + 1)))
        return {"planes": planes} if planes else {}

    def plan(self, batch: VoxelBatch) -> PointTransformerV1Plan:
        """Samples, neighbours and interpolations of every level. Every cloud is planned for by itself."""
        coord, ends = positions(batch, "PointTransformer-Seg"), cloud_ends(batch.voxels[:, 0])
        levels = [PointLevel(_padded(nearest(NEIGHBOURS[0], coord, ends), len(coord)))]
        for count in NEIGHBOURS[1:]:
            coarse_ends = (with_start(ends).diff() // STRIDE).cumsum(0)
            coarse = coord[farthest_point_sampling(coord, ends, coarse_ends).long()]
            near = _padded(nearest(count, coarse, coarse_ends), len(coarse))
            down = _padded(nearest(count, coord, ends, coarse, coarse_ends), len(coord))
            levels.append(PointLevel(near, down, interpolation(coarse, coarse_ends, coord, ends)))
            coord, ends = coarse, coarse_ends
        borders = with_start(ends)
        clouds = torch.arange(len(ends), device=ends.device).repeat_interleave(borders.diff(), output_size=len(coord))
        return PointTransformerV1Plan(levels, borders, clouds)

    def forward(self, features: Tensor, plan: PointTransformerV1Plan) -> Tensor:  # (V, in_channels) -> (V, num_classes)
        x, skips = features, []
        for number, level in enumerate(plan.levels, 1):
            stage = getattr(self, f"enc{number}")
            x = stage(stage[0](x, level), level)
            skips.append(x)
        for number in range(len(plan.levels), 0, -1):
            stage = getattr(self, f"dec{number}")
            if number == len(plan.levels):
                x = stage[0](x, plan)
            else:
                x = stage[0](skips[number - 1], x, plan.levels[number].up)
            x = stage(x, plan.levels[number - 1])
        return self.cls(x)


class PointTransformerSeg26(PointTransformerV1):
    """Pointcept's ``PointTransformer-Seg26``."""

    blocks = (1, 1, 1, 1, 1)


class PointTransformerSeg38(PointTransformerV1):
    """Pointcept's ``PointTransformer-Seg38``."""

    blocks = (1, 2, 2, 2, 2)


class PointTransformerSeg50(PointTransformerV1):
    """Pointcept's ``PointTransformer-Seg50``."""

    blocks = (1, 2, 3, 5, 2)


def zero_row(features: Tensor) -> Tensor:
    """(n, C) with a row of zeros below."""
    return functional.pad(features, (0, 0, 0, 1))


def _padded(found: Neighbours, count: int) -> Neighbours:
    """``found`` among ``count`` points, with the index of the row below them for a missing neighbour."""
    return Neighbours(torch.where(found.index < 0, count, found.index), found.relative)
