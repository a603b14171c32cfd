"""Sparse convolutions as torch modules, with the parameter names and layout of spconv."""

from collections.abc import Iterable
from typing import Any

import torch
from sparseops import KernelMap, pack_weight, sparse_conv
from torch import Tensor, nn

from .batch_invariant_linear import PackedLinear


class SparseConv(nn.Module):
    """Weight (out, k, k, k, in) and optional bias (out,), applied along a kernel map.

    A kernel of size 1 multiplies by the weight's buffer read as (in, out), as spconv does, and needs no map.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, kernel_size, kernel_size, kernel_size, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, features: Tensor, kernel_map: KernelMap | None = None) -> Tensor:  # (V, in) -> (W, out)
        if kernel_map is not None:
            return sparse_conv(features, self.weight, kernel_map, self.bias)
        out_channels, in_channels = self.weight.shape[0], self.weight.shape[-1]
        out = features @ self.weight.reshape(in_channels, out_channels)
        return out if self.bias is None else out + self.bias


class FinalConv(SparseConv):
    """A kernel of size 1 from features to logits."""

    bias: nn.Parameter

    def __init__(self, in_channels: int, num_classes: int):
        super().__init__(in_channels, num_classes, 1, bias=True)

    def folded(self) -> PackedLinear:
        """The equivalent that inference runs."""
        num_classes, in_channels = self.weight.shape[0], self.weight.shape[-1]
        linear = nn.Linear(in_channels, num_classes, device=self.weight.device, dtype=self.weight.dtype)
        linear.weight = nn.Parameter(self.weight.detach().reshape(in_channels, num_classes).T)
        linear.bias = self.bias
        return PackedLinear(linear)


class FoldedConv(nn.Module):
    """A sparse convolution with the batch norm after it, for inference on one device.

    Runs activation(norm(conv(x)) + residual) in one operator.
    """

    bias: Tensor

    def __init__(self, parts: Iterable[nn.Module], activation: str):
        """``parts`` are a SparseConv and a BatchNorm1d; what follows them is left out."""
        super().__init__()
        conv: Any
        norm: Any
        conv, norm, *_ = parts
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a batch norm without running statistics cannot be folded")
        scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
        shift = -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean.double()
        weight = conv.weight.double()
        if weight.shape[1] == 1:
            weight = weight.reshape(weight.shape[-1], 1, 1, 1, weight.shape[0]).transpose(0, 4)
        self.weight = pack_weight((weight * scale.view(-1, 1, 1, 1, 1)).to(conv.weight.dtype))
        self.register_buffer("bias", (shift * scale + norm.bias.double()).to(conv.weight.dtype))
        self.activation = activation

    def forward(
        self, features: Tensor, kernel_map: KernelMap, residual: Tensor | None = None
    ) -> Tensor:  # (V, in) -> (W, out)
        return sparse_conv(features, self.weight, kernel_map, self.bias, residual, self.activation)
