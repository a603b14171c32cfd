"""OACNNs, Omni-Adaptive 3D CNNs: inference only, with Pointcept's parameter names."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sparseops import KernelMap, pack_keys, segment_reduce, sort_voxels, strided_map, submanifold_map
from torch import Tensor, nn

from .layers import Layers
from .neighbourhood import cloud_ends, with_start
from .network import Network
from .partition import Partition, partition
from .sparse import FinalConv, FoldedConv, SparseConv
from .voxel_batch import VoxelBatch


@dataclass(frozen=True)
class AdaptiveLevel:
    """A level below the finest.

    Attributes:
        down: the map from the finer level's voxels; some of those may be in none of its pairs.
        kernel_map: of 3³ offsets.
        cells: one for each of the stage's grid sizes.
        groups: what shares the maximum that weights are seen from, a cell a cloud; of a joint batch one.
    """

    down: KernelMap
    kernel_map: KernelMap
    cells: list[Partition]
    groups: Partition


@dataclass(frozen=True)
class OACNNsPlan:
    """``rows`` int64 (V,) brings the batch's voxels in the order of the maps; ``levels`` go from fine to coarse."""

    rows: Tensor
    stem: KernelMap
    levels: list[AdaptiveLevel]


def batch_norm(channels: int) -> nn.BatchNorm1d:
    """A batch norm with the constants of OACNNs."""
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


class Convolutions(nn.ModuleList):
    """Convolutions along one map, each with batch norm and ReLU; a shortcut may join before the last ReLU."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, depth: int):
        super().__init__()
        for width in (in_channels, *[channels] * (depth - 1)):
            self.extend([SparseConv(width, channels, kernel_size), batch_norm(channels), nn.ReLU()])

    def forward(self, x: Tensor, kernel_map: KernelMap, shortcut: Tensor | None = None) -> Tensor:  # (V, in) -> (W, C)
        parts = list(self)
        for conv, norm, relu in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            x = norm(conv(x, kernel_map))
            x = relu(x if shortcut is None or relu is not parts[-1] else x + shortcut)
        return x

    def folded(self) -> "FoldedConvolutions":
        """The equivalent that inference runs."""
        return FoldedConvolutions(self)


class FoldedConvolutions(nn.Module):
    """``Convolutions`` for inference, each one operator."""

    def __init__(self, plain: Convolutions):
        super().__init__()
        parts = list(plain)
        self.convs = nn.ModuleList(FoldedConv(pair, "relu") for pair in zip(parts[::3], parts[1::3], strict=True))

    def forward(self, x: Tensor, kernel_map: KernelMap, shortcut: Tensor | None = None) -> Tensor:  # (V, in) -> (W, C)
        *convs, last = self.convs
        for conv in convs:
            x = conv(x, kernel_map)
        return last(x, kernel_map, shortcut)


class AdaptiveBlock(nn.Module):
    """Sums over cells of several sizes, mixed for each voxel, then two convolutions beside a shortcut."""

    def __init__(self, channels: int, num_grids: int):
        super().__init__()
        self.proj = nn.ModuleList(_linear_layers(channels, channels) for _ in range(num_grids + 1))
        self.l_w = nn.ModuleList(_linear_layers(channels, channels) for _ in range(num_grids))
        self.weight = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in range(num_grids))
        self.adaptive = nn.Linear(channels, num_grids, bias=False)
        self.fuse = _linear_layers(2 * channels, channels)
        self.voxel_block = Convolutions(channels, channels, 3, depth=2)

    def forward(self, x: Tensor, level: AdaptiveLevel) -> Tensor:  # (V, C) -> (V, C)
        share = self.adaptive(x).softmax(1)  # (V, grids)
        mixed = torch.zeros_like(x)
        for grid, cells in enumerate(level.cells):
            mixed += self.sums(x, cells, level.groups, grid) * share[:, grid, None]
        x = self.fuse(torch.cat([self.proj[-1](x), mixed], 1)) + x
        return self.voxel_block(x, level.kernel_map, x)

    def sums(self, x: Tensor, cells: Partition, groups: Partition, grid: int) -> Tensor:
        """For every voxel the weighted sum over its cell, (V, C)."""
        weight = self.l_w[grid](x)
        weight = self.weight[grid](weight - cells.spread(weight, "mean"))
        weight = (weight - groups.spread(weight, "max").amax(1, keepdim=True)).exp()
        weight = weight / (cells.spread(weight, "sum") + 1e-6)
        return cells.spread(self.proj[grid](x) * weight, "sum")


class DownBlock(nn.Module):
    """A strided convolution and blocks."""

    def __init__(self, in_channels: int, channels: int, depth: int, num_grids: int):
        super().__init__()
        self.down = Convolutions(in_channels, channels, 2, depth=1)
        self.blocks = nn.ModuleList(AdaptiveBlock(channels, num_grids) for _ in range(depth))

    def forward(self, x: Tensor, level: AdaptiveLevel) -> Tensor:  # (finer V, in) -> (V, C)
        x = self.down(x, level.down)
        for block in self.blocks:
            x = block(x, level)
        return x


class UpBlock(nn.Module):
    """An inverse convolution, and the features that the encoder left."""

    def __init__(self, in_channels: int, skip_channels: int, channels: int):
        super().__init__()
        self.up = Convolutions(in_channels, channels, 2, depth=1)
        self.fuse = Layers(
            *_linear_layers(skip_channels + channels, channels, bias=True),
            *_linear_layers(channels, channels, bias=True),
        )

    def forward(
        self, x: Tensor, skip: Tensor, level: AdaptiveLevel
    ) -> Tensor:  # (V, in), (finer V, skip) -> (finer V, C)
        x = self.up(x, level.down.inverse())
        return self.fuse(torch.cat([x, skip], 1)) + x


class OACNNs(Network):
    """Pointcept's ``OACNNs``.

    Args:
        in_channels: width of the input features.
        num_classes: width of the output.
        embed_channels: width of the stem.
        enc_channels, enc_depth: widths and blocks of the encoder's stages, from fine to coarse.
        dec_channels: widths of the decoder's, from fine to coarse.
        point_grid_size: for every stage the cells' edges, in voxels of the stage.
        enc_num_ref, groups, down_ratio, dec_depth: read by nothing, as upstream.
    """

    plans_positions = False

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        embed_channels: int = 64,
        enc_num_ref: Sequence[int] = (16, 16, 16, 16),
        enc_channels: Sequence[int] = (64, 64, 128, 256),
        groups: Sequence[int] = (2, 4, 8, 16),
        enc_depth: Sequence[int] = (2, 3, 6, 4),
        down_ratio: Sequence[int] = (2, 2, 2, 2),
        dec_channels: Sequence[int] = (96, 96, 128, 256),
        point_grid_size: Sequence[Sequence[int]] = ((16, 32, 64), (8, 16, 24), (4, 8, 12), (2, 4, 6)),
        dec_depth: Sequence[int] = (2, 2, 2, 2),
    ):
        super().__init__()
        stages = {"enc_depth": enc_depth, "dec_channels": dec_channels, "point_grid_size": point_grid_size}
        unlike = [f"{name} has {len(values)}" for name, values in stages.items() if len(values) != len(enc_channels)]
        if unlike:
            raise ValueError(f"OACNNs: enc_channels has {len(enc_channels)} stages, but {', '.join(unlike)}")
        self.point_grid_size = [tuple(sizes) for sizes in point_grid_size]
        encoder, decoder = (embed_channels, *enc_channels), (*dec_channels, enc_channels[-1])
        self.stem = Convolutions(in_channels, embed_channels, 3, depth=3)
        self.enc = nn.ModuleList(
            DownBlock(encoder[stage], encoder[stage + 1], depth, len(point_grid_size[stage]))
            for stage, depth in enumerate(enc_depth)
        )
        self.dec = nn.ModuleList(
            UpBlock(decoder[stage + 1], encoder[stage], decoder[stage]) for stage in range(len(dec_channels))
        )
        self.out_channels = decoder[0]
        self.final = FinalConv(decoder[0], num_classes)

    def plan(self, batch: VoxelBatch) -> OACNNsPlan:
        """Kernel maps and cells of every level. Unless the batch is joint, every cloud is planned for by itself."""
        rows, coords = sort_voxels(batch.voxels)
        groups = torch.zeros_like(coords[:, 0]) if batch.joint else coords[:, 0]
        shape = _by_group(coords[:, 1:], groups, "max") + 1  # of every group, as of all levels' ``groups``
        stem, levels = submanifold_map(coords, 3), []
        for sizes in self.point_grid_size:
            shape = shape // 2
            coords, down = halved(coords, shape[groups])
            groups = torch.zeros_like(coords[:, 0]) if batch.joint else coords[:, 0]
            lowest = _by_group(coords[:, 1:], groups, "min")[groups]
            places = coords[:, 1:] - lowest
            cells = [partition(pack_keys(torch.cat([coords[:, :1], places // size], 1), check=False)) for size in sizes]
            levels.append(AdaptiveLevel(down, submanifold_map(coords, 3), cells, partition(groups)))
        return OACNNsPlan(rows, stem, levels)

    def forward(self, features: Tensor, plan: OACNNsPlan) -> Tensor:  # (V, in_channels) -> (V, num_classes)
        x = self.stem(features[plan.rows], plan.stem)
        skips = []
        for stage, level in zip(self.enc, plan.levels, strict=True):
            skips.append(x)
            x = stage(x, level)
        for stage, skip, level in reversed(list(zip(self.dec, skips, plan.levels, strict=True))):
            x = stage(x, skip, level)
        x = self.final(x)
        return torch.empty_like(x).index_copy_(0, plan.rows, x)


def halved(coords: Tensor, shape: Tensor) -> tuple[Tensor, KernelMap]:
    """Voxels of half the resolution, int64 (W, 4), and the map to them of kernel 2 and stride 2.

    coords int64 (V, 4); shape int64 (V, 3), the extent of the coarse grid for every voxel. A window that reaches beyond
    the fine grid does not exist: a voxel on the last slice of an odd extent is in no pair.
    """
    rows = (coords[:, 1:] // 2 < shape).all(1).nonzero()[:, 0]
    coarse, down = strided_map(coords[rows])
    forwards = torch.where(down.forwards < 0, -1, rows[down.forwards.long()]).int() if len(coarse) else down.forwards
    backwards = coords.new_full((down.num_offsets, len(coords)), -1, dtype=torch.int32)
    backwards[:, rows] = down.inverse().forwards
    return coarse, KernelMap(forwards, backwards)


def _by_group(values: Tensor, groups: Tensor, reduction: str) -> Tensor:
    """The least or largest of int64 (V, 3) in every group, ascending: int64 (groups, 3)."""
    return segment_reduce(values.double(), with_start(cloud_ends(groups)), reduction).long()


def _linear_layers(in_channels: int, channels: int, bias: bool = False) -> Layers:
    return Layers(nn.Linear(in_channels, channels, bias=bias), batch_norm(channels), nn.ReLU())
