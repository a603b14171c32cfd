"""Parts of networks in a call each, for inference: blocks of serialized attention, and residual blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor

from .attention import MAX_HEAD_CHANNELS, patch_attention
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

    @property
    def tensors(self) -> list[Tensor | None]:
        """As the compiled operators take them."""
        return [self.weight, self.bias]


@dataclass(frozen=True)
class AttentionBlock:
    """The weights of a block of C channels with its norms before attention and MLP.

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
        first, second = self.norm0, self.norm1
        if has_kernel(x) and not needs_gradient(x, positional):
            rows, order = table_for(kernel_map, x)
            given = (x, positional, rows, order, into.forwards, self.tensors[:8], [first.eps, second.eps])
            return torch.ops.sparseops.block_input(*given)
        convolved = sparse_conv(positional, self.conv.weight, kernel_map, self.conv.bias)
        affine = (first.weight, first.bias, second.weight, second.bias)
        x, normed = residual_norm(convolved, x, *affine, first.eps, second.eps)
        return x, sparse_conv(normed, self.qkv.weight, into, self.qkv.bias)

    def after(self, attended: Tensor, x: Tensor, out_of: KernelMap) -> Tensor:
        """y + fc2(gelu(fc1(norm2(y)))) for y = x + proj(attended) along ``out_of``, (V, C)."""
        _check_rows("attended", attended, out_of)
        norm = self.norm2
        if has_kernel(x) and not needs_gradient(attended, x):
            given = (attended, x, out_of.forwards, self.tensors[8:], norm.eps, self.fc1.weight.out_channels)
            return torch.ops.sparseops.block_output(*given)
        x = sparse_conv(attended, self.proj.weight, out_of, self.proj.bias, x)
        normed = layer_norm(x, norm.weight, norm.bias, norm.eps)
        hidden = sparse_conv(normed, self.fc1.weight, None, self.fc1.bias, activation="gelu")
        return sparse_conv(hidden, self.fc2.weight, None, self.fc2.bias, x)

    @cached_property
    def tensors(self) -> list[Tensor | None]:
        """All of them in the order of the attributes, as the compiled operators take them."""
        first = (self.conv, self.norm0, self.norm1, self.qkv)
        return [tensor for part in (*first, self.proj, self.norm2, self.fc1, self.fc2) for tensor in part.tensors]


@dataclass(frozen=True)
class AttentionBlocks:
    """Blocks of one width one after the other, and how they attend.

    Attributes:
        blocks: their weights.
        heads: number of heads of all of them.
        scales: of each one's scores.
        cast: as for ``patch_attention``.
    """

    blocks: tuple[AttentionBlock, ...]
    heads: int
    scales: tuple[float, ...]
    cast: torch.dtype | None = None

    def run(
        self, x: Tensor, positional: Tensor, kernel_map: KernelMap, patches: Sequence[tuple[KernelMap, Tensor]]
    ) -> Tensor:
        """What the last block gives, (V, C).

        ``before``, ``patch_attention`` and ``after`` of every block, with the same bits; they raise ValueError as these
        do.

        Args:
            x: (V, C), contiguous.
            positional: (V, C), what the first block's positional convolution reads; the others read the output of the
                one before.
            kernel_map: of 27 offsets, of the V rows onto themselves.
            patches: of each block the map from rows to the places of the padded order, and ``cu_seqlens``.
        """
        for into, _ in patches:
            _check_rows("x", x, into)
        _check_rows("positional", positional, kernel_map)
        wide = x.is_cuda and x.ndim == 2 and x.shape[1] > self.heads * MAX_HEAD_CHANNELS
        if has_kernel(x) and not wide and not needs_gradient(x, positional):
            backwards = [
                into.backwards if into.backwards is not None else into.inverse().forwards for into, _ in patches
            ]
            tables = ([into.forwards for into, _ in patches], backwards)
            given = (*table_for(kernel_map, x), *tables, [cu_seqlens for _, cu_seqlens in patches])
            return torch.ops.sparseops.attention_blocks(x, positional, *given, *self._parameters)
        for block, scale, (into, cu_seqlens) in zip(self.blocks, self.scales, patches, strict=True):
            x, qkv = block.before(x, positional, kernel_map, into)
            attended = patch_attention(qkv.unflatten(1, (3, self.heads, -1)), cu_seqlens, scale, cast=self.cast)
            x = positional = block.after(attended, x, into.inverse())
        return x

    @cached_property
    def _parameters(self) -> tuple[list[Tensor | None], list[float], int, int, torch.dtype | None]:
        tensors = [tensor for block in self.blocks for tensor in block.tensors]
        numbers = (
            (block.norm0.eps, block.norm1.eps, block.norm2.eps, scale)
            for block, scale in zip(self.blocks, self.scales, strict=True)
        )
        (hidden_channels,) = {block.fc1.weight.out_channels for block in self.blocks}
        return tensors, list(chain(*numbers)), self.heads, hidden_channels, self.cast


@dataclass(frozen=True)
class ResidualBlock:
    """Two convolutions of one map, a ReLU after each, and a shortcut, which ``proj`` projects if it is given."""

    conv1: LinearWeights
    conv2: LinearWeights
    proj: LinearWeights | None = None


@dataclass(frozen=True)
class ResidualBlocks:
    """Blocks one after the other."""

    blocks: tuple[ResidualBlock, ...]

    def run(self, x: Tensor, kernel_map: KernelMap) -> Tensor:
        """What the last block gives, (V, C_out).

        relu(conv2(relu(conv1(x))) + proj(x)) by ``sparse_conv`` of every block, with the same bits, raising ValueError
        as it does. ``x`` is (V, C), contiguous; ``kernel_map`` is of the V rows onto themselves.
        """
        _check_rows("x", x, kernel_map)
        if has_kernel(x) and not needs_gradient(x):
            return torch.ops.sparseops.residual_blocks(x, *table_for(kernel_map, x), *self._parameters)
        for block in self.blocks:
            proj = block.proj
            shortcut = x if proj is None else sparse_conv(x, proj.weight, None, proj.bias)
            x = sparse_conv(x, block.conv1.weight, kernel_map, block.conv1.bias, activation="relu")
            x = sparse_conv(x, block.conv2.weight, kernel_map, block.conv2.bias, shortcut, "relu")
        return x

    @cached_property
    def _parameters(self) -> tuple[list[Tensor | None], int]:
        (channels,) = {conv.weight.out_channels for block in self.blocks for conv in (block.conv1, block.conv2)}
        return [tensor for block in self.blocks for tensor in _tensors(block)], channels


def _tensors(block: ResidualBlock) -> list[Tensor | None]:
    shortcut = [None, None] if block.proj is None else block.proj.tensors
    return [*block.conv1.tensors, *block.conv2.tensors, *shortcut]


def _check_rows(name: str, tensor: Tensor, kernel_map: KernelMap) -> None:
    if tensor.shape[:1] != (kernel_map.num_in,):
        raise ValueError(f"{name} must have the {kernel_map.num_in} rows of its map, got {tuple(tensor.shape)}")
