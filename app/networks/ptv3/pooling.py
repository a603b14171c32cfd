"""Pooling to a coarser level, unpooling to a finer one, and the stem before them."""

from collections import OrderedDict
from typing import Any

import torch
from sparseops import KernelMap, segment_reduce
from torch import Tensor, nn

from app.networks.batch_invariant_linear import PackedLinear
from app.networks.sparse import FoldedConv, SparseConv

from .geometry import Coarsening
from .norm import Norm, Prompt, Prompted


class Stem(nn.Sequential):
    """The 5³ convolution, norm and GELU that features enter by."""

    def __init__(self, in_channels: int, channels: int, norm: Norm):
        super().__init__()
        self.conv = SparseConv(in_channels, channels, 5)
        self.norm = norm(channels)
        self.act = nn.GELU()

    def forward(self, x: Tensor, kernel_map: KernelMap, prompt: Prompt) -> Tensor:  # type: ignore[override]
        return Prompted(self.norm, self.act)(self.conv(x, kernel_map), prompt)

    def folded(self) -> nn.Module:
        """For inference."""
        return FoldedStem(self) if isinstance(self.norm, nn.BatchNorm1d) else self


class FoldedStem(nn.Module):
    """A ``Stem`` for inference: batch norm and GELU in the convolution."""

    def __init__(self, stem: Stem):
        super().__init__()
        self.conv = FoldedConv([stem.conv, stem.norm], "gelu")

    def forward(self, x: Tensor, kernel_map: KernelMap, prompt: Prompt) -> Tensor:
        return self.conv(x, kernel_map)


class Embedding(nn.Module):
    """The stem, under its name in checkpoints."""

    def __init__(self, in_channels: int, channels: int, norm: Norm):
        super().__init__()
        self.stem = Stem(in_channels, channels, norm)

    def forward(self, x: Tensor, kernel_map: KernelMap, prompt: Prompt) -> Tensor:  # (V, in_channels) -> (V, channels)
        return self.stem(x, kernel_map, prompt)


class LinearEmbedding(nn.Module):
    """A linear layer, a norm and a GELU. ``mask_token`` stood for hidden voxels in training."""

    def __init__(self, in_channels: int, channels: int, norm: Norm, mask_token: bool = False):
        super().__init__()
        parts = {"linear": nn.Linear(in_channels, channels), "norm": norm(channels), "act": nn.GELU()}
        self.stem = nn.Sequential(OrderedDict(parts))
        self.mask_token = nn.Parameter(torch.zeros(1, channels)) if mask_token else None

    def forward(self, x: Tensor, kernel_map: None, prompt: Prompt) -> Tensor:  # (V, in_channels) -> (V, channels)
        return self.stem(x)


class Pooling(nn.Module):
    """A linear layer, the maximum over the voxels of each coarser one, a norm and a GELU."""

    def __init__(self, in_channels: int, channels: int, norm: Norm):
        super().__init__()
        self.proj = nn.Linear(in_channels, channels)
        self.norm = Prompted(norm(channels))
        self.act = nn.GELU()

    def forward(self, x: Tensor, step: Coarsening, prompt: Prompt) -> Tensor:  # (V, in_channels) -> (W, channels)
        return self.act(self.norm(segment_reduce(self.proj(x), step.starts, "max"), prompt))


class Branch(Prompted):
    """A linear layer, a norm and a GELU."""

    def __init__(self, in_channels: int, channels: int, norm: Norm):
        super().__init__(nn.Linear(in_channels, channels), norm(channels), nn.GELU())

    def folded(self) -> nn.Module:
        """For inference."""
        linear: Any
        linear, norm, act = self
        if not isinstance(norm, nn.BatchNorm1d):
            return Prompted(PackedLinear(linear), norm, act)
        return Prompted(PackedLinear(linear, norm, "gelu"))


class Unpooling(nn.Module):
    """Coarse features, given to every voxel of the finer level, and those that the encoder left there."""

    def __init__(self, in_channels: int, skip_channels: int, channels: int, norm: Norm):
        super().__init__()
        self.proj = Branch(in_channels, channels, norm)
        self.proj_skip = Branch(skip_channels, channels, norm)

    def forward(self, x: Tensor, skip: Tensor, step: Coarsening, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """(W, in_channels) and (V, skip_channels) to their sum (V, channels), and the skip's part of it."""
        skip = self.proj_skip(skip, prompt)
        return skip + self.proj(x, prompt).index_select(0, step.parent), skip
