"""A block of serialized attention in two calls: what comes before the attention, and what comes after it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .conv import PackedWeight, has_kernel, sparse_conv, table_for
from .kernel_map import KernelMap
from .norm import layer_norm, residual_norm
from .values import needs_gradient


@dataclass(frozen=True)
class LinearWeights:
    """A packed weight and a bias, (C_out,) or None."""

    weight: PackedWeight
    bias: Tensor | None

    @cached_property
    def tensors(self) -> list[Tensor | None]:
        """As the compiled operators take them."""
        return [self.weight.data, None if self.bias is None else self.bias.detach().float()]


@dataclass(frozen=True)
class NormWeights:
    """A layer norm's weight and bias, (C,) or None, and what is added to the variance."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float


@dataclass(frozen=True)
class AttentionBlock:
    """The weights of a block of C channels with its norms before attention and MLP, for inference.

    Both methods are ``sparse_conv``, ``layer_norm`` and ``residual_norm`` one after the other, with the same bits, and
    raise ValueError as these do.

    Attributes:
        conv: the positional convolution, C to C.
        norm0: after it.
        norm1: before the attention.
        qkv: C to 3 C.
        proj: C to C.
        norm2: before the MLP.
        fc1: C to the hidden channels, which end in a GELU.
        fc2: the hidden channels to C.
    """

    conv: LinearWeights
    norm0: NormWeights
    norm1: NormWeights
    qkv: LinearWeights
    proj: LinearWeights
    norm2: NormWeights
    fc1: LinearWeights
    fc2: LinearWeights

    def before(self, x: Tensor, positional: Tensor, kernel_map: KernelMap, into: KernelMap) -> tuple[Tensor, Tensor]:
        """x + norm0(conv(positional)), (V, C); and query, key and value of its norm1 along ``into``, (T, 3 C)."""
        _check_rows("positional", positional, kernel_map)
        _check_rows("x", x, into)
        if has_kernel(x) and not needs_gradient(x, positional):
            rows, order = table_for(kernel_map, x)
            tables = (rows, order, into.forwards)
            parameters = (self.conv.tensors, self._norms, self._eps, self.qkv.tensors)
            return torch.ops.sparseops.block_input(x, positional, *tables, *parameters)
        convolved = sparse_conv(positional, self.conv.weight, kernel_map, self.conv.bias)
        first, second = self.norm0, self.norm1
        affine = (first.weight, first.bias, second.weight, second.bias)
        x, normed = residual_norm(convolved, x, *affine, first.eps, second.eps)
        return x, sparse_conv(normed, self.qkv.weight, into, self.qkv.bias)

    def after(self, attended: Tensor, x: Tensor, out_of: KernelMap) -> Tensor:
        """y + fc2(gelu(fc1(norm2(y)))) for y = x + proj(attended) along ``out_of``, (V, C)."""
        _check_rows("attended", attended, out_of)
        norm = self.norm2
        if has_kernel(x) and not needs_gradient(attended, x):
            affine = ([norm.weight, norm.bias], norm.eps)
            mlp = (self.fc1.tensors, self.fc2.tensors, self.fc1.weight.out_channels)
            return torch.ops.sparseops.block_output(attended, x, out_of.forwards, self.proj.tensors, *affine, *mlp)
        x = sparse_conv(attended, self.proj.weight, out_of, self.proj.bias, x)
        normed = layer_norm(x, norm.weight, norm.bias, norm.eps)
        hidden = sparse_conv(normed, self.fc1.weight, None, self.fc1.bias, activation="gelu")
        return sparse_conv(hidden, self.fc2.weight, None, self.fc2.bias, x)

    @cached_property
    def _norms(self) -> list[Tensor | None]:
        return [self.norm0.weight, self.norm0.bias, self.norm1.weight, self.norm1.bias]

    @cached_property
    def _eps(self) -> list[float]:
        return [self.norm0.eps, self.norm1.eps]


def _check_rows(name: str, tensor: Tensor, kernel_map: KernelMap) -> None:
    if tensor.shape[:1] != (kernel_map.num_in,):
        raise ValueError(f"{name} must have the {kernel_map.num_in} rows of its map, got {tuple(tensor.shape)}")
