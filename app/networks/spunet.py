"""SpUNet-v1m1: the sparse residual U-Net, inference and training forward, with Pointcept's parameter names."""

from dataclasses import dataclass
from typing import Any

import torch
from sparseops import (
    KernelMap,
    LinearWeights,
    ResidualBlock,
    ResidualBlocks,
    sort_voxels,
    strided_maps,
    submanifold_maps,
)
from torch import Tensor, nn

from .network import Network
from .sparse import FinalConv, FoldedConv, SparseConv
from .voxel_batch import VoxelBatch


@dataclass(frozen=True)
class SpUNetPlan:
    """All that the network needs of the geometry of a batch.

    ``stem`` is the map of the 5³ stem, ``levels`` the 3³ maps from fine to coarse, ``downs`` the maps between them, for
    voxels taken in ``order``, int64 (V,), which brings neighbours together; None if they stay as given.
    """

    stem: KernelMap
    levels: list[KernelMap]
    downs: list[KernelMap]
    order: Tensor | None = None


def plan_levels(batch: VoxelBatch, num_stages: int) -> SpUNetPlan:
    """Kernel maps of the stem and of ``num_stages`` halvings of the batch's voxels."""
    order, coords = sort_voxels(batch.voxels, check=False)  # strided_maps looks at the values
    coarser = strided_maps(coords, num_stages)
    stem, *maps = submanifold_maps([coords, *(coarse for coarse, _ in coarser)], [5, *[3] * num_stages])
    levels, downs = [stem.inner(3), *maps], [down for _, down in coarser]
    KernelMap.group([*levels, *downs, *(down.inverse() for down in downs)])
    return SpUNetPlan(stem, levels, downs, order)


def batch_norm(channels: int) -> nn.BatchNorm1d:
    """A batch norm with the constants of SpUNet."""
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


class BasicBlock(nn.Module):
    """Two 3³ convolutions with batch norm and a shortcut, which is projected if the widths differ."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.proj = (
            nn.Identity()
            if in_channels == channels
            else nn.Sequential(SparseConv(in_channels, channels, 1), batch_norm(channels))
        )
        self.conv1 = SparseConv(in_channels, channels, 3)
        self.bn1 = batch_norm(channels)
        self.conv2 = SparseConv(channels, channels, 3)
        self.bn2 = batch_norm(channels)

    def forward(self, x: Tensor, kernel_map: KernelMap) -> Tensor:  # (V, in) -> (V, channels)
        out = torch.relu(self.bn1(self.conv1(x, kernel_map)))
        out = self.bn2(self.conv2(out, kernel_map))
        return torch.relu(out + self.proj(x))


class FoldedBlock(nn.Module):
    """The weights of a ``BasicBlock`` for inference: batch norms are in the convolutions."""

    def __init__(self, block: BasicBlock):
        super().__init__()
        self.proj = FoldedConv(block.proj, "none") if isinstance(block.proj, nn.Sequential) else None
        self.conv1 = FoldedConv([block.conv1, block.bn1], "relu")
        self.conv2 = FoldedConv([block.conv2, block.bn2], "relu")

    def weights(self) -> ResidualBlock:
        """As they are: a twin in another precision has others."""
        convs = (self.conv1, self.conv2) if self.proj is None else (self.conv1, self.conv2, self.proj)
        return ResidualBlock(*(LinearWeights(conv.weight, conv.bias) for conv in convs))


class ConvolutionStep(nn.ModuleList):
    """Convolution along a map, batch norm, ReLU: the stem and every change of level."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__([SparseConv(in_channels, out_channels, kernel_size), batch_norm(out_channels), nn.ReLU()])

    def forward(self, x: Tensor, kernel_map: KernelMap) -> Tensor:
        conv, norm, relu = self
        return relu(norm(conv(x, kernel_map)))

    def folded(self) -> FoldedConv:
        """The equivalent that inference runs."""
        return FoldedConv(self, "relu")


class ResidualStage(nn.ModuleDict):
    """Residual blocks on one level."""

    def __init__(self, in_channels: int, channels: int, depth: int):
        blocks = [BasicBlock(in_channels if i == 0 else channels, channels) for i in range(depth)]
        super().__init__({f"block{i}": block for i, block in enumerate(blocks)})

    def forward(self, x: Tensor, kernel_map: KernelMap) -> Tensor:
        for block in self.values():
            x = block(x, kernel_map)
        return x

    def folded(self) -> "FoldedStage":
        """The equivalent that inference runs."""
        return FoldedStage(self)


class FoldedStage(nn.ModuleList):
    """A ``ResidualStage`` for inference, in one operator."""

    def __init__(self, stage: ResidualStage):
        blocks: Any = stage.values()
        super().__init__(map(FoldedBlock, blocks))
        self.weights: ResidualBlocks | None = None  # made when they are first asked for

    def forward(self, x: Tensor, kernel_map: KernelMap) -> Tensor:
        if not len(self):
            return x
        first: Any = self[0]
        if self.weights is None or self.weights.blocks[0].conv1.weight is not first.conv1.weight:
            blocks: Any = self
            self.weights = ResidualBlocks(tuple(block.weights() for block in blocks))
        return self.weights.run(x, kernel_map)


class SpUNet(Network):
    """Pointcept's ``SpUNet-v1m1``.

    Args:
        in_channels: width of the input features.
        num_classes: width of the output; 0 leaves the features of the last stage.
        base_channels: width of the stem.
        channels: widths of the stages, encoder first, then decoder from coarse to fine.
        layers: residual blocks of each stage, in the same order.
        cls_mode: not served (an encoder-only classifier); must be False.
    """

    plans_positions = False
    gives_features = True
    supports_half_precision = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        base_channels: int = 32,
        channels: tuple[int, ...] = (32, 64, 128, 256, 256, 128, 96, 96),
        layers: tuple[int, ...] = (2, 3, 4, 6, 2, 2, 2, 2),
        cls_mode: bool = False,
    ):
        super().__init__()
        if len(channels) != len(layers) or len(channels) % 2:
            raise ValueError(
                "SpUNet-v1m1: channels and layers must have the same even length, "
                f"got {len(channels)} and {len(layers)}"
            )
        if cls_mode:
            raise ValueError("SpUNet-v1m1: cls_mode=True classifies whole clouds; only cls_mode=False is served")
        self.num_stages = len(channels) // 2
        encoder, decoder = channels[: self.num_stages], channels[self.num_stages :][::-1]  # both from fine to coarse
        below = (base_channels, *encoder[:-1])  # width that enters each down step, also the skip at that level
        above = (*decoder[1:], encoder[-1])  # width that enters each up step
        decoder_layers = layers[self.num_stages :][::-1]
        stages = range(self.num_stages)
        self.conv_input = ConvolutionStep(in_channels, base_channels, 5)
        self.down = nn.ModuleList(ConvolutionStep(below[s], encoder[s], 2) for s in stages)
        self.enc = nn.ModuleList(ResidualStage(encoder[s], encoder[s], layers[s]) for s in stages)
        self.up = nn.ModuleList(ConvolutionStep(above[s], decoder[s], 2) for s in stages)
        self.dec = nn.ModuleList(ResidualStage(below[s] + decoder[s], decoder[s], decoder_layers[s]) for s in stages)
        self.out_channels = decoder[0]
        self.final = FinalConv(decoder[0], num_classes) if num_classes else nn.Identity()

    def plan(self, batch: VoxelBatch) -> SpUNetPlan:
        """Kernel maps of every level."""
        return plan_levels(batch, self.num_stages)

    def forward(self, features: Tensor, plan: SpUNetPlan) -> Tensor:  # (V, in_channels) -> (V, num_classes)
        return self._in_batch_order(self.final(self._finest(features, plan)), plan)

    def logits_and_features(self, features: Tensor, plan: SpUNetPlan) -> tuple[Tensor, Tensor]:
        """Logits, and the features of the last stage."""
        x = self._finest(features, plan)
        return self._in_batch_order(self.final(x), plan), self._in_batch_order(x, plan)

    def _finest(self, features: Tensor, plan: SpUNetPlan) -> Tensor:
        x = self.conv_input(features if plan.order is None else features.index_select(0, plan.order), plan.stem)
        skips = []
        for stage in range(self.num_stages):
            skips.append(x)
            x = self.down[stage](x, plan.downs[stage])
            x = self.enc[stage](x, plan.levels[stage + 1])
        for stage in reversed(range(self.num_stages)):
            x = self.up[stage](x, plan.downs[stage].inverse())
            x = self.dec[stage](torch.cat([x, skips[stage]], 1), plan.levels[stage])
        return x

    @staticmethod
    def _in_batch_order(x: Tensor, plan: SpUNetPlan) -> Tensor:
        return x if plan.order is None else torch.empty_like(x).index_copy_(0, plan.order, x)
