"""Encoder and decoder of serialized blocks, which all Point Transformer V3 and LitePT share."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from sparseops import AttentionBlocks, KernelMap, coarse_levels, segment_reduce, submanifold_maps
from torch import Tensor, nn

from app.networks.fold import with_folded_parts
from app.networks.network import Network
from app.networks.voxel_batch import VoxelBatch

from .block import FoldedBlock, Positional
from .geometry import (
    Clouds,
    Coarsening,
    Cut,
    Order,
    SerializedLevel,
    SortedVoxels,
    clouds_of,
    make_patches,
    order_along,
    sorted_voxels,
)
from .norm import Norm, Prompt
from .pooling import Pooling, Unpooling

CURVES = ("z", "z-trans", "hilbert", "hilbert-trans")


@dataclass(frozen=True)
class SerializedPlan:
    """All that the network needs of the geometry.

    Attributes:
        rows: int64 (V,), the batch's rows in the order of the finest level.
        stem: the kernel map of the finest level for the stem, if that is a convolution.
        levels: from fine to coarse.
        steps: between them.
        condition: the batch's.
    """

    rows: Tensor
    stem: KernelMap
    levels: list[SerializedLevel]
    steps: list[Coarsening]
    condition: str | None


class SerializedStage(nn.ModuleDict):
    """The blocks of a level, and the step that leads there."""

    def __init__(self, step: dict[str, nn.Module], blocks: Sequence[nn.Module]):
        super().__init__(step | {f"block{i}": block for i, block in enumerate(blocks)})
        self.curves: tuple[int, ...] | None = None  # of the blocks, once they are folded and run as one operator
        self.weights: AttentionBlocks | None = None  # of these, made when they are first asked for

    def blocks(self) -> list[Any]:
        """The blocks of the level, without the step that leads there."""
        return [module for name, module in self.items() if name.startswith("block")]

    def forward(
        self, x: Tensor, positional: Tensor, level: SerializedLevel, prompt: Prompt
    ) -> Tensor:  # (V, C) -> (V, C)
        first: Any = self["block0"] if self.curves else None
        if self.curves and len(x) <= first.mlp.rows_at_once(x):
            patches = [level.patches[curve] for curve in self.curves]
            rows = [(each.into, each.cu_seqlens) for each in patches]
            return self._weights().run(x, positional, level.kernel_map, rows)
        for block in self.blocks():
            x, positional = block(x, positional, level, prompt)
        return x

    def folded(self) -> nn.Module:
        """The equivalent that inference runs."""
        twin = with_folded_parts(self)
        blocks: list[Any] = [block for name, block in twin._modules.items() if name.startswith("block")]
        if all(isinstance(block, FoldedBlock) and block.is_plain for block in blocks):
            vars(twin)["curves"] = tuple(block.attn.order_index for block in blocks)
        return twin

    def _weights(self) -> AttentionBlocks:
        """Those of the folded blocks as they are: a twin in another precision has others."""
        first: Any = self["block0"]
        if self.weights is None or self.weights.blocks[0].conv.weight is not first.cpe.weight:
            blocks, attn = self.blocks(), first.attn
            scales = tuple(block.attn.scale for block in blocks)
            own = tuple(block.block_weights() for block in blocks)
            self.weights = AttentionBlocks(own, attn.num_heads, scales, attn.cast)
        return self.weights


class Hierarchy(Network):
    """An encoder with or without a decoder; ``assemble`` is called with what they are made of.

    Args:
        order: names of ``CURVES``.
        stride: of every pooling.
        enc_mode: leaves out the decoder; the features of every stage then stand side by side, the finest first.
        encoder: the config's lists for the encoder, by name, with a value a stage.
        decoder: those for the decoder.

    Attributes:
        decodes_skip: whether the first positional convolution of a decoder's stage reads the encoder's part alone.
        shares_patches: whether, with upstream's batch semantics, the smallest cloud bounds everyone's patches.
        shares_orders: whether all levels are ordered by the finest one's curves, else each by its own.
        stem_size: of the stem's kernel; 3 also where the stem is no convolution.
        used_curves: of every stage how many curves, from the first on, its blocks attend along.
        convolves: of every stage whether its blocks convolve.
    """

    plans_positions = False
    supports_half_precision = True
    decodes_skip = False
    shares_patches = False
    shares_orders = False
    stem_size = 5
    used_curves: list[int]
    convolves: list[bool]

    def __init__(
        self,
        order: Sequence[str] | str,
        stride: Sequence[int],
        enc_mode: bool,
        encoder: dict[str, Sequence[Any]],
        decoder: dict[str, Sequence[Any]],
    ):
        super().__init__()
        self.curves = (order,) if isinstance(order, str) else tuple(order)
        self.stride = tuple(stride)
        self.enc_mode = enc_mode
        self.patch_sizes = tuple(encoder["enc_patch_size"])
        num_stages = len(encoder["enc_depths"])
        _check_lengths(num_stages - 1, {"stride": stride})
        _check_lengths(num_stages, encoder)
        if not enc_mode:
            _check_lengths(num_stages - 1, decoder)
            if tuple(decoder["dec_patch_size"]) != self.patch_sizes[:-1]:
                raise ValueError(
                    "enc_patch_size and dec_patch_size must agree stage by stage, "
                    f"got {self.patch_sizes} and {tuple(decoder['dec_patch_size'])}"
                )
        unknown = sorted(set(self.curves) - set(CURVES))
        if unknown or not self.curves:
            raise ValueError(f"order must be names out of {', '.join(CURVES)}, got {self.curves}")
        if any(stride not in (1, 2, 4, 8, 16) for stride in self.stride):
            raise ValueError(f"stride must be powers of 2 up to 16, got {self.stride}")

    def assemble(
        self,
        embedding: nn.Module,
        norm: Norm,
        enc_channels: Sequence[int],
        enc_blocks: Sequence[Sequence[nn.Module]],
        dec_channels: Sequence[int],
        dec_blocks: Sequence[Sequence[nn.Module]],
    ) -> None:
        """Join the blocks of every stage by steps with ``norm``; of the decoder nothing is read in ``enc_mode``."""
        self.embedding = embedding
        stages: list[list[Any]] = [
            [*own, *(dec_blocks[s] if s < len(dec_blocks) else [])] for s, own in enumerate(enc_blocks)
        ]
        self.used_curves = [
            max((block.attn.order_index + 1 for block in stage if block.attn is not None), default=0)
            for stage in stages
        ]
        self.convolves = [
            any(isinstance(part, Positional) for block in stage for part in block.modules()) for stage in stages
        ]
        self.enc = nn.ModuleDict()
        self.out_channels = sum(enc_channels)
        for s, blocks in enumerate(enc_blocks):
            down: dict[str, nn.Module] = {"down": Pooling(enc_channels[s - 1], enc_channels[s], norm)} if s else {}
            self.enc[f"enc{s}"] = SerializedStage(down, blocks)
        if self.enc_mode:
            return
        self.dec = nn.ModuleDict()
        self.out_channels = dec_channels[0]
        widths = (*dec_channels, enc_channels[-1])
        for s in reversed(range(len(self.stride))):
            up: dict[str, nn.Module] = {"up": Unpooling(widths[s + 1], enc_channels[s], widths[s], norm)}
            self.dec[f"dec{s}"] = SerializedStage(up, dec_blocks[s])

    def plan(self, batch: VoxelBatch) -> SerializedPlan:
        """Orders, patches and kernel maps of every level. Reads the device twice: for the clouds, and the levels."""
        clouds = clouds_of(batch)
        used = self.used_curves
        curves = self.curves if used[0] or self.shares_orders else ()
        rows, voxels, order = sorted_voxels(batch, clouds, curves, self.plans_positions)
        shifts = self.shifts(clouds)
        coarser = coarse_levels(voxels.coords, clouds.ends, shifts, order.orders if self.shares_orders else None)
        finest, *maps = submanifold_maps(
            [voxels.coords, *(level.coords for level in coarser)], [self.stem_size, *[3] * len(coarser)]
        )
        maps = [finest if self.stem_size == 3 else finest.inner(3), *maps]
        KernelMap.group([each for each, convolves in zip(maps, self.convolves, strict=True) if convolves])
        steps, cuts, permutation = [], [], None
        for s, patch_size in enumerate(self.patch_sizes):
            if s:
                level = coarser[s - 1]
                steps.append(Coarsening(level.parents, level.starts))
                coord = None if voxels.coord is None else segment_reduce(voxels.coord, level.starts, "mean")
                voxels, order = SortedVoxels(level.coords, level.ends, coord), Order(level.orders, level.inverses)
                if used[s] and not self.shares_orders:
                    order = order_along(self.curves, voxels.coords, clouds.depths(shifts[s - 1]))
            if batch.shuffles is not None and used[s]:
                drawn = batch.shuffles[s]
                permutation = permutation[drawn] if self.shares_orders and permutation is not None else drawn
                order = order.permuted(permutation)
            smallest = voxels.smallest_cloud() if batch.joint and self.shares_patches else patch_size
            cuts.append(Cut(voxels, order, used[s], min(patch_size, smallest)))
        levels = [
            SerializedLevel(cut.voxels, kernel_map, patches)
            for cut, kernel_map, patches in zip(cuts, maps, make_patches(cuts), strict=True)
        ]
        return SerializedPlan(rows, finest, levels, steps, batch.condition)

    def shifts(self, clouds: Clouds) -> list[list[int]]:
        """For every coarser stage and cloud, how often the finest voxels' edges are doubled."""
        halvings = accumulate(stride.bit_length() - 1 for stride in self.stride)
        return [[shift] * len(clouds.ends) for shift in halvings]

    def forward(self, features: Tensor, plan: SerializedPlan, context: Tensor | None = None) -> Tensor:
        """(V, in_channels) to (V, C), in the batch's order. ``context`` (1, C) is for adaptive norms."""
        prompt = Prompt(plan.condition, context)
        stages = self.encode(features, plan, prompt)
        out = concatenated(stages, plan.steps) if self.enc_mode else self.decode(stages, plan, prompt)
        return torch.empty_like(out).index_copy_(0, plan.rows, out)

    def encode(self, features: Tensor, plan: SerializedPlan, prompt: Prompt) -> list[Tensor]:
        """The features of every stage, from fine to coarse, in the order of the plan's levels."""
        x = self.embedding(features.index_select(0, plan.rows), plan.stem, prompt)
        stages: list[Tensor] = []
        for s, level in enumerate(plan.levels):
            stage: Any = self.enc[f"enc{s}"]
            if s:
                x = stage["down"](x, plan.steps[s - 1], prompt)
            x = stage(x, x, level, prompt)
            stages.append(x)
        return stages

    def decode(self, stages: list[Tensor], plan: SerializedPlan, prompt: Prompt) -> Tensor:
        """Features of the finest level, in its order, from those of every stage."""
        x = stages[-1]
        for s in reversed(range(len(plan.steps))):
            stage: Any = self.dec[f"dec{s}"]
            x, skip = stage["up"](x, stages[s], plan.steps[s], prompt)
            x = stage(x, skip if self.decodes_skip else x, plan.levels[s], prompt)
        return x


def concatenated(stages: list[Tensor], steps: list[Coarsening]) -> Tensor:
    """(V, sum of widths): the features of every stage side by side on the finest level, the finest first."""
    x = stages[-1]
    for stage, step in zip(stages[-2::-1], steps[::-1], strict=True):
        x = torch.cat([stage, x.index_select(0, step.parent)], 1)
    return x


def _check_lengths(num_stages: int, lists: dict[str, Sequence[Any]]) -> None:
    for name, values in lists.items():
        if len(values) != num_stages:
            raise ValueError(f"{name} must have {num_stages} values for these stages, got {len(values)}")
