"""A block of serialized attention: positional convolution, attention, MLP."""

from typing import Any

import torch
from sparseops import pack_weight, sparse_conv
from torch import Tensor, nn

from app.networks.sparse import SparseConv

from .attention import SerializedAttention
from .geometry import Level
from .norm import Norm, Prompt, Prompted


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, channels: int, hidden_channels: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden_channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_channels, channels)

    def forward(self, x: Tensor) -> Tensor:  # (V, C) -> (V, C)
        return self.fc2(self.act(self.fc1(x)))


class Positional(Prompted):
    """Positional encoding: a 3³ convolution, a linear layer, a norm."""

    def __init__(self, channels: int, norm: Norm):
        super().__init__(SparseConv(channels, channels, 3, bias=True), nn.Linear(channels, channels), norm(channels))

    def forward(self, x: Tensor, level: Level, prompt: Prompt) -> Tensor:  # type: ignore[override]  # (V, C) -> (V, C)
        conv, linear, norm = self
        return Prompted(linear, norm)(conv(x, level.kernel_map), prompt)

    def folded(self) -> "FoldedPositional":
        """For inference."""
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

    def forward(self, x: Tensor, level: Level, prompt: Prompt) -> Tensor:  # (V, C) -> (V, C)
        return self.norm(sparse_conv(x, self.weight, level.kernel_map, self.bias), prompt)


class LayerScale(nn.Module):
    """A factor for each channel of a branch."""

    def __init__(self, channels: int, initial: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:  # (V, C) -> (V, C)
        return x * self.gamma


class Block(nn.Module):
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
        self.ls1 = nn.Sequential() if layer_scale is None else nn.Sequential(LayerScale(channels, layer_scale))
        self.norm2 = Prompted(norm(channels))
        self.mlp = nn.Sequential(MLP(channels, int(channels * mlp_ratio)))
        self.ls2 = nn.Sequential() if layer_scale is None else nn.Sequential(LayerScale(channels, layer_scale))

    def forward(self, x: Tensor, positional: Tensor, level: Level, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """``x`` and ``positional``, what the positional convolution reads, (V, C) each; both for the next block."""
        x = x + self.cpe(positional, level, prompt)
        if self.pre_norm:
            x = x + self.ls1(self.attn(self.norm1(x, prompt), level.patches))
            branch = self.ls2(self.mlp(self.norm2(x, prompt)))
            x = x + branch
            return x, branch if self.mlp_to_next else x
        x = self.norm1(x + self.ls1(self.attn(x, level.patches)), prompt)
        x = self.norm2(x + self.ls2(self.mlp(x)), prompt)
        return x, x
