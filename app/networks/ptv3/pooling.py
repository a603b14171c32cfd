"""Pooling to a coarser level, unpooling to a finer one, and the stem before them."""

from collections import OrderedDict
from typing import Any

import torch
from sparseops import BatchNormWeights, KernelMap, LinearWeights, PoolingStep, UnpoolingStep, segment_reduce
from torch import Tensor, nn

from app.networks.batch_invariant_linear import PackedLinear
from app.networks.fold import fold, with_folded_parts
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
        """The equivalent that inference runs."""
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

    def forward(self, x: Tensor, kernel_map: KernelMap, prompt: Prompt) -> Tensor:  # (V, in_channels) -> (V, channels)
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

    def folded(self) -> nn.Module:
        """The equivalent that inference runs."""
        return FoldedPooling(self) if isinstance(self.norm[0], nn.BatchNorm1d) else with_folded_parts(self)


class FoldedPooling(nn.Module):
    """A ``Pooling`` with a batch norm, for inference, in one operator."""

    def __init__(self, pooling: Pooling):
        super().__init__()
        self.proj = PackedLinear(pooling.proj)
        self.norm: Any = pooling.norm[0]
        self.step: PoolingStep | None = None  # made when it is first asked for

    def forward(self, x: Tensor, step: Coarsening, prompt: Prompt) -> Tensor:  # (V, in_channels) -> (W, channels)
        if self.step is None or self.step.linear.weight is not self.proj.weight:
            norm = self.norm
            if norm.running_mean is None or norm.running_var is None:
                raise ValueError("a batch norm without running statistics cannot be folded")
            tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            self.step = PoolingStep(
                LinearWeights(self.proj.weight, self.proj.bias), BatchNormWeights(*tensors, norm.eps)
            )
        return self.step.run(x, step.starts)


class Branch(Prompted):
    """A linear layer, a norm and a GELU."""

    def __init__(self, in_channels: int, channels: int, norm: Norm):
        super().__init__(nn.Linear(in_channels, channels), norm(channels), nn.GELU())

    def folded(self) -> nn.Module:
        """The equivalent that inference runs."""
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

    def folded(self) -> nn.Module:
        """The equivalent that inference runs."""
        proj, proj_skip = fold(self.proj), fold(self.proj_skip)
        packed = all(isinstance(part, Prompted) and len(part) == 1 for part in (proj, proj_skip))
        return FoldedUnpooling(proj, proj_skip) if packed else with_folded_parts(self)


class FoldedUnpooling(nn.Module):
    """An ``Unpooling`` with batch norms, for inference, in one operator."""

    def __init__(self, proj: nn.Module, proj_skip: nn.Module):
        """Both are folded branches of one layer, which has norm and GELU in it."""
        super().__init__()
        self.proj: Any = proj
        self.proj_skip: Any = proj_skip
        self.step: UnpoolingStep | None = None  # made when it is first asked for

    def forward(self, x: Tensor, skip: Tensor, step: Coarsening, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """As that of ``Unpooling``."""
        if self.step is None or self.step.proj.weight is not self.proj[0].weight:
            parts = (LinearWeights(part[0].weight, part[0].bias) for part in (self.proj, self.proj_skip))
            self.step = UnpoolingStep(*parts)
        return self.step.run(x, skip, step.parent)
