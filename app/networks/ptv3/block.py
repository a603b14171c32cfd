"""A block of serialized attention: positional convolution, attention, MLP."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from sparseops import AttentionBlock, LinearWeights, NormWeights, pack_weight, sparse_conv
from torch import Tensor, nn

from app.networks.batch_invariant_linear import Linear, PackedLinear
from app.networks.fold import fold, with_folded_parts
from app.networks.sparse import SparseConv

from .attention import SerializedAttention
from .geometry import SerializedLevel
from .norm import Norm, Prompt, Prompted

HIDDEN_ELEMENTS = 1 << 20  # of an MLP at a time, for each thread: 4 MiB


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, channels: int, hidden_channels: int):
        super().__init__()
        self.fc1 = Linear(channels, hidden_channels)
        self.act = nn.GELU()
        self.fc2 = Linear(hidden_channels, channels)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:  # (V, C), (V, C) -> (V, C)
        return self.fc2(self.act(self.fc1(x)), residual=residual)

    def folded(self) -> "FoldedMLP":
        """The equivalent that inference runs."""
        return FoldedMLP(self)


class FoldedMLP(nn.Module):
    """An ``MLP`` for inference, by slices of rows that stay in a processor's caches."""

    def __init__(self, mlp: MLP):
        super().__init__()
        self.fc1, self.fc2 = PackedLinear(mlp.fc1, activation="gelu"), PackedLinear(mlp.fc2)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:  # (V, C), (V, C) -> (V, C)
        num_rows = self.rows_at_once(x)
        if len(x) <= num_rows:
            return self.fc2(self.fc1(x), residual=residual)
        out = torch.empty_like(x)
        for first in range(0, len(x), num_rows):
            rows = slice(first, first + num_rows)
            out[rows] = self.fc2(self.fc1(x[rows]), residual=None if residual is None else residual[rows])
        return out

    def rows_at_once(self, x: Tensor) -> int:
        """Of a slice; a GPU takes all."""
        if x.is_cuda:
            return len(x)
        return max(HIDDEN_ELEMENTS * torch.get_num_threads() // self.fc1.weight.out_channels, 1)


class Positional(Prompted):
    """Positional encoding: a 3³ convolution, a linear layer, a norm."""

    def __init__(self, channels: int, norm: Norm):
        super().__init__(SparseConv(channels, channels, 3, bias=True), nn.Linear(channels, channels), norm(channels))

    def forward(  # type: ignore[override]
        self, x: Tensor, level: SerializedLevel, prompt: Prompt
    ) -> Tensor:  # (V, C) -> (V, C)
        conv, linear, norm = self
        return Prompted(linear, norm)(conv(x, level.kernel_map), prompt)

    def folded(self) -> "FoldedPositional":
        """The equivalent that inference runs."""
        return FoldedPositional(self)


class FoldedPositional(nn.Module):
    """A ``Positional`` for inference: the linear layer in the convolution."""

    bias: Tensor

    def __init__(self, plain: Positional):
        super().__init__()
        conv: Any
        linear: Any
        conv, linear, norm = plain
        weight = torch.einsum("pq,qxyzi->pxyzi", linear.weight.double(), conv.weight.double())
        bias = linear.weight.double() @ conv.bias.double() + linear.bias.double()
        self.weight = pack_weight(weight.to(conv.weight.dtype))
        self.register_buffer("bias", bias.to(conv.weight.dtype))
        self.norm = Prompted(norm)

    def forward(self, x: Tensor, level: SerializedLevel, prompt: Prompt) -> Tensor:  # (V, C) -> (V, C)
        return self.norm(sparse_conv(x, self.weight, level.kernel_map, self.bias), prompt)


class LayerScale(nn.Module):
    """A factor for each channel of a branch."""

    def __init__(self, channels: int, initial: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:  # (V, C) -> (V, C)
        return x * self.gamma


class SerializedBlock(nn.Module):
    """Positional encoding, attention and MLP, each beside a shortcut.

    Args:
        channels: C.
        attention: of C channels.
        mlp_ratio: hidden channels of the MLP for each of C.
        norm: makes a norm of so many channels.
        pre_norm: whether norms stand before attention and MLP, or after their shortcuts.
        mlp_to_next: whether the next block's positional convolution reads the MLP's output without the shortcut, as
            Pointcept did before v1.5.2.
        layer_scale: initial factor of both branches; None for none.
    """

    def __init__(
        self,
        channels: int,
        attention: SerializedAttention,
        mlp_ratio: float,
        norm: Norm,
        pre_norm: bool = True,
        mlp_to_next: bool = False,
        layer_scale: float | None = None,
    ):
        super().__init__()
        self.pre_norm = pre_norm
        self.mlp_to_next = mlp_to_next
        self.cpe = Positional(channels, norm)
        self.norm1 = Prompted(norm(channels))
        self.attn = attention
        self.ls1 = None if layer_scale is None else nn.Sequential(LayerScale(channels, layer_scale))
        self.norm2 = Prompted(norm(channels))
        self.mlp = nn.Sequential(MLP(channels, int(channels * mlp_ratio)))
        self.ls2 = None if layer_scale is None else nn.Sequential(LayerScale(channels, layer_scale))

    def forward(self, x: Tensor, positional: Tensor, level: SerializedLevel, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """``x`` and ``positional``, what the positional convolution reads, (V, C) each; both for the next block."""
        x = x + self.cpe(positional, level, prompt)
        if not self.pre_norm:
            x = self.norm1(_beside(x, partial(self.attn, x, level.patches), self.ls1), prompt)
            x = self.norm2(_beside(x, partial(self.mlp[0], x), self.ls2), prompt)
            return x, x
        x = _beside(x, partial(self.attn, self.norm1(x, prompt), level.patches), self.ls1)
        branch = partial(self.mlp[0], self.norm2(x, prompt))
        if self.mlp_to_next:
            positional = branch()
            return x + positional, positional
        x = _beside(x, branch, self.ls2)
        return x, x

    def folded(self) -> nn.Module:
        """The equivalent that inference runs."""
        norms = (self.cpe[2], self.norm1[0], self.norm2[0])
        plain = self.pre_norm and self.ls1 is None and all(isinstance(norm, nn.LayerNorm) for norm in norms)
        return FoldedBlock(self) if plain else with_folded_parts(self)


class FoldedBlock(nn.Module):
    """A ``SerializedBlock`` of layer norms before attention and MLP, for inference, in few operators."""

    def __init__(self, block: SerializedBlock):
        super().__init__()
        self.mlp_to_next = block.mlp_to_next
        self.cpe = FoldedPositional(block.cpe)
        self.norm0: Any = block.cpe[2]
        self.norm1: Any = block.norm1[0]
        self.norm2: Any = block.norm2[0]
        self.attn: Any = fold(block.attn)
        self.mlp: Any = fold(block.mlp[0])
        self.weights: AttentionBlock | None = None  # made when they are first asked for

    @property
    def is_plain(self) -> bool:
        """Whether ``AttentionBlocks`` computes it, if the MLP takes all rows at once."""
        return type(self.attn) is SerializedAttention and self.attn.rpe is None and not self.mlp_to_next

    def forward(self, x: Tensor, positional: Tensor, level: SerializedLevel, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """As that of ``SerializedBlock``."""
        weights, attn, mlp = self.block_weights(), self.attn, self.mlp
        patches = level.patches[attn.order_index]
        x, qkv = weights.before(x, positional, level.kernel_map, patches.into)
        qkv = attn.rotate(qkv.unflatten(1, (3, attn.num_heads, -1)), patches)
        attended = attn.attend(qkv, patches)
        del qkv  # before the MLP takes memory
        if not self.mlp_to_next and len(x) <= mlp.rows_at_once(x):
            x = weights.after(attended, x, patches.out_of)
            return x, x
        x = attn.proj(attended, patches.out_of, x)
        del attended
        if self.mlp_to_next:
            positional = mlp(self.norm2(x))
            return x + positional, positional
        x = mlp(self.norm2(x), x)
        return x, x

    def block_weights(self) -> AttentionBlock:
        """Those of the parts as they are: a twin in another precision has others."""
        packed = self.cpe.weight
        if self.weights is None or self.weights.conv.weight is not packed:
            norm0, norm1, norm2 = (
                NormWeights(norm.weight, norm.bias, norm.eps) for norm in (self.norm0, self.norm1, self.norm2)
            )
            qkv, proj, fc1, fc2 = (
                LinearWeights(part.weight, part.bias)
                for part in (self.attn.qkv, self.attn.proj, self.mlp.fc1, self.mlp.fc2)
            )
            self.weights = AttentionBlock(
                LinearWeights(packed, self.cpe.bias), norm0, norm1, qkv, proj, norm2, fc1, fc2
            )
        return self.weights


def _beside(x: Tensor, branch: Callable[..., Tensor], scale: nn.Module | None) -> Tensor:
    """``x`` plus ``branch``, scaled if the network scales branches."""
    return branch(residual=x) if scale is None else x + scale(branch())
