"""PT-v2m1 and PT-v2m2, Point Transformer V2: inference only, with Pointcept's parameter names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from sparseops import pack_keys, segment_reduce
from torch import Tensor, nn

from .layers import Layers
from .neighbourhood import Interpolation, Neighbours, cloud_ends, interpolation, nearest, positions, with_start
from .network import Network
from .partition import Partition, partition
from .vector_attention import Blocks, Design, GroupedLinear, PointNorm, projection
from .voxel_batch import VoxelBatch


@dataclass(frozen=True)
class GridPooling:
    """From a level to the next coarser one.

    Attributes:
        cells: parts of the finer level's points, one a point of the coarser level.
        up: back to the finer level, if that is by interpolation.
    """

    cells: Partition
    up: Interpolation | None


@dataclass(frozen=True)
class PointTransformerV2Plan:
    """From fine to coarse: neighbours in the encoder, in the decoder (not on the coarsest level), and poolings."""

    encoder: list[Neighbours]
    decoder: list[Neighbours]
    poolings: list[GridPooling]


class PatchEmbed(nn.Module):
    """A projection and blocks on the finest level."""

    def __init__(self, in_channels: int, depth: int, channels: int, groups: int, design: Design):
        super().__init__()
        self.proj = projection(in_channels, channels, bias=False)
        self.blocks = Blocks(depth, channels, groups, design)

    def forward(self, x: Tensor, near: Neighbours) -> Tensor:  # (V, in) -> (V, C)
        return self.blocks(self.proj(x), near)


class GridPool(nn.Module):
    """Linear layer, norm and ReLU, then the maximum over the points of each cell."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.fc = nn.Linear(in_channels, channels, bias=False)
        self.norm = PointNorm(channels)

    def forward(self, x: Tensor, pooling: GridPooling) -> Tensor:  # (n, in) -> (m, C)
        return pooling.cells.reduce(torch.relu(self.norm(self.fc(x))), "max")


class EncoderStage(nn.Module):
    """A pooling and blocks."""

    def __init__(self, in_channels: int, depth: int, channels: int, groups: int, design: Design):
        super().__init__()
        self.down = GridPool(in_channels, channels)
        self.blocks = Blocks(depth, channels, groups, design)

    def forward(self, x: Tensor, pooling: GridPooling, near: Neighbours) -> Tensor:
        return self.blocks(self.down(x, pooling), near)


class Unpool(nn.Module):
    """Features of the coarser level, given to the finer one, and those that the encoder left."""

    def __init__(self, in_channels: int, skip_channels: int, channels: int):
        super().__init__()
        self.proj = projection(in_channels, channels)
        self.proj_skip = projection(skip_channels, channels)

    def forward(self, x: Tensor, skip: Tensor, pooling: GridPooling) -> Tensor:  # (m, in), (n, skip) -> (n, C)
        x = self.proj(x)
        x = x[pooling.cells.part] if pooling.up is None else pooling.up.of(x)
        return x + self.proj_skip(skip)


class DecoderStage(nn.Module):
    """An unpooling and blocks."""

    def __init__(self, in_channels: int, skip_channels: int, depth: int, channels: int, groups: int, design: Design):
        super().__init__()
        self.up = Unpool(in_channels, skip_channels, channels)
        self.blocks = Blocks(depth, channels, groups, design)

    def forward(self, x: Tensor, skip: Tensor, pooling: GridPooling, near: Neighbours) -> Tensor:
        return self.blocks(self.up(x, skip, pooling), near)


class PointTransformerV2(Network):
    """Pointcept's ``PT-v2m2``; arguments are those of its config. Dropout and checkpoints act in training only.

    Depths, widths, groups and neighbours of the stages go from fine to coarse, in the decoder too; ``grid_sizes`` are
    the cells of the poolings in the unit of the positions; ``unpool_backend`` is map or interp.
    """

    score: Callable[[int, int], nn.Module] = nn.Linear

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_embed_depth: int = 1,
        patch_embed_channels: int = 48,
        patch_embed_groups: int = 6,
        patch_embed_neighbours: int = 8,
        enc_depths: Sequence[int] = (2, 2, 6, 2),
        enc_channels: Sequence[int] = (96, 192, 384, 512),
        enc_groups: Sequence[int] = (12, 24, 48, 64),
        enc_neighbours: Sequence[int] = (16, 16, 16, 16),
        dec_depths: Sequence[int] = (1, 1, 1, 1),
        dec_channels: Sequence[int] = (48, 96, 192, 384),
        dec_groups: Sequence[int] = (6, 12, 24, 48),
        dec_neighbours: Sequence[int] = (16, 16, 16, 16),
        grid_sizes: Sequence[float] = (0.06, 0.12, 0.24, 0.48),
        attn_qkv_bias: bool = True,
        pe_multiplier: bool = False,
        pe_bias: bool = True,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        enable_checkpoint: bool = False,
        unpool_backend: str = "map",
    ):
        super().__init__()
        stages = {
            "enc_channels": enc_channels,
            "enc_groups": enc_groups,
            "enc_neighbours": enc_neighbours,
            "dec_depths": dec_depths,
            "dec_channels": dec_channels,
            "dec_groups": dec_groups,
            "dec_neighbours": dec_neighbours,
            "grid_sizes": grid_sizes,
        }
        unlike = [f"{name} has {len(values)}" for name, values in stages.items() if len(values) != len(enc_depths)]
        if unlike:
            raise ValueError(f"enc_depths has {len(enc_depths)} stages, but {', '.join(unlike)}")
        if unpool_backend not in ("map", "interp"):
            raise ValueError(f"unpool_backend must be map or interp, got {unpool_backend!r}")
        self.interpolates, self.grid_sizes = unpool_backend == "interp", tuple(grid_sizes)
        self.encoder_neighbours = (patch_embed_neighbours, *enc_neighbours)
        self.decoder_neighbours = tuple(dec_neighbours)
        design = Design(attn_qkv_bias, pe_multiplier, pe_bias, self.score)
        encoder, decoder = (patch_embed_channels, *enc_channels), (*dec_channels, enc_channels[-1])
        self.patch_embed = PatchEmbed(in_channels, patch_embed_depth, patch_embed_channels, patch_embed_groups, design)
        self.enc_stages = nn.ModuleList(
            EncoderStage(encoder[stage], depth, encoder[stage + 1], enc_groups[stage], design)
            for stage, depth in enumerate(enc_depths)
        )
        self.dec_stages = nn.ModuleList(
            DecoderStage(decoder[stage + 1], encoder[stage], depth, decoder[stage], dec_groups[stage], design)
            for stage, depth in enumerate(dec_depths)
        )
        self.out_channels = decoder[0]
        self.seg_head = self.head(decoder[0], num_classes) if num_classes > 0 else nn.Identity()

    def head(self, channels: int, num_classes: int) -> nn.Module:
        """From features to logits."""
        return Layers(nn.Linear(channels, channels), PointNorm(channels), nn.ReLU(), nn.Linear(channels, num_classes))

    def plan(self, batch: VoxelBatch) -> PointTransformerV2Plan:
        """Cells and neighbours of every level. Every cloud is planned for by itself."""
        coord, clouds = positions(batch, "PT-v2"), batch.voxels[:, 0]
        counts = [max(pair) for pair in zip(self.encoder_neighbours, (*self.decoder_neighbours, 1), strict=True)]
        ends = cloud_ends(clouds)
        levels, poolings = [nearest(counts[0], coord, ends)], []
        for count, size in zip(counts[1:], self.grid_sizes, strict=True):
            coord, clouds, ends, pooling = pool(coord, clouds, ends, size, self.interpolates)
            levels.append(nearest(count, coord, ends))
            poolings.append(pooling)
        return PointTransformerV2Plan(
            [level.nearest(count) for level, count in zip(levels, self.encoder_neighbours, strict=True)],
            [level.nearest(count) for level, count in zip(levels[:-1], self.decoder_neighbours, strict=True)],
            poolings,
        )

    def forward(self, features: Tensor, plan: PointTransformerV2Plan) -> Tensor:  # (V, in_channels) -> (V, num_classes)
        x = self.patch_embed(features, plan.encoder[0])
        skips = []
        for stage, pooling, near in zip(self.enc_stages, plan.poolings, plan.encoder[1:], strict=True):
            skips.append(x)
            x = stage(x, pooling, near)
        for number in reversed(range(len(skips))):
            x = self.dec_stages[number](x, skips[number], plan.poolings[number], plan.decoder[number])
        return self.seg_head(x)


class GroupedPointTransformerV2(PointTransformerV2):
    """Pointcept's ``PT-v2m1``: as ``PT-v2m2``, but every group's score is made of its own channels."""

    score = GroupedLinear


def pool(
    coord: Tensor, clouds: Tensor, ends: Tensor, size: float, interpolates: bool
) -> tuple[Tensor, Tensor, Tensor, GridPooling]:
    """Points in cells of ``size`` from the lowest corner of their cloud: means, clouds, their ends, the way there.

    coord (n, 3) float32, clouds int64 (n,), ascending, ends int64 (B,).
    """
    lowest = segment_reduce(coord, with_start(ends), "min")
    places = ((coord - lowest[clouds]) / coord.new_full((), size)).long()
    cells = partition(pack_keys(torch.cat([clouds[:, None], places.flip(1)], 1)))
    means, coarse_clouds = cells.reduce(coord, "mean"), clouds[cells.order[cells.starts[:-1]]]
    coarse_ends = cloud_ends(coarse_clouds, len(ends))
    up = interpolation(means, coarse_ends, coord, ends) if interpolates else None
    return means, coarse_clouds, coarse_ends, GridPooling(cells, up)
