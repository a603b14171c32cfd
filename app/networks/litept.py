"""LitePT-v1: convolutions on levels of many voxels, attention on levels of few; inference only."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from .layer_norm import LayerNorm
from .ptv3.block import MLP, Positional
from .ptv3.geometry import SerializedLevel
from .ptv3.hierarchy import Hierarchy
from .ptv3.norm import Norm, Prompt
from .ptv3.pooling import Embedding
from .ptv3.rope import RotaryAttention


class LiteBlock(nn.Module):
    """A convolution beside a shortcut, or a norm in its place; then, with ``attention``, that and an MLP."""

    def __init__(
        self, channels: int, convolves: bool, attention: RotaryAttention | None, mlp_ratio: float, pre_norm: bool
    ):
        super().__init__()
        self.pre_norm = pre_norm
        self.conv = Positional(channels, LayerNorm) if convolves else None
        self.norm0 = None if convolves else nn.Sequential(LayerNorm(channels))
        self.attn = attention
        if attention is not None:
            self.norm1 = nn.Sequential(LayerNorm(channels))
            self.norm2 = nn.Sequential(LayerNorm(channels))
            self.mlp = nn.Sequential(MLP(channels, int(channels * mlp_ratio)))

    def forward(self, x: Tensor, positional: Tensor, level: SerializedLevel, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """``x`` (V, C), twice over for the next block."""
        if self.conv is not None:
            x = x + self.conv(x, level, prompt)
        elif self.norm0 is not None:
            x = self.norm0(x)
        if self.attn is not None:
            if self.pre_norm:
                x = self.attn(self.norm1(x), level.patches, residual=x)
                x = self.mlp[0](self.norm2(x), residual=x)
            else:
                x = self.norm1(self.attn(x, level.patches, residual=x))
                x = self.norm2(self.mlp[0](x, residual=x))
        return x, x


class LitePT(Hierarchy):
    """Pointcept's ``LitePT-v1``. Arguments are those of its config; dropout and shuffling act in training only."""

    def __init__(
        self,
        in_channels: int = 4,
        order: Sequence[str] | str = ("z", "z-trans", "hilbert", "hilbert-trans"),
        stride: Sequence[int] = (2, 2, 2, 2),
        enc_depths: Sequence[int] = (2, 2, 2, 6, 2),
        enc_channels: Sequence[int] = (36, 72, 144, 252, 504),
        enc_num_head: Sequence[int] = (2, 4, 8, 14, 28),
        enc_patch_size: Sequence[int] = (1024, 1024, 1024, 1024, 1024),
        enc_conv: Sequence[bool] = (True, True, True, False, False),
        enc_attn: Sequence[bool] = (False, False, False, True, True),
        enc_rope_freq: Sequence[float] = (100.0, 100.0, 100.0, 100.0, 100.0),
        dec_depths: Sequence[int] = (0, 0, 0, 0),
        dec_channels: Sequence[int] = (72, 72, 144, 252),
        dec_num_head: Sequence[int] = (4, 4, 8, 14),
        dec_patch_size: Sequence[int] = (1024, 1024, 1024, 1024),
        dec_conv: Sequence[bool] = (False, False, False, False),
        dec_attn: Sequence[bool] = (False, False, False, False),
        dec_rope_freq: Sequence[float] = (100.0, 100.0, 100.0, 100.0),
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        drop_path: float = 0.3,
        pre_norm: bool = True,
        shuffle_orders: bool = True,
        enc_mode: bool = False,
    ):
        encoder: dict[str, Sequence[Any]] = {
            "enc_depths": enc_depths,
            "enc_channels": enc_channels,
            "enc_num_head": enc_num_head,
            "enc_patch_size": enc_patch_size,
            "enc_conv": enc_conv,
            "enc_attn": enc_attn,
            "enc_rope_freq": enc_rope_freq,
        }
        decoder: dict[str, Sequence[Any]] = {
            "dec_depths": dec_depths,
            "dec_channels": dec_channels,
            "dec_num_head": dec_num_head,
            "dec_patch_size": dec_patch_size,
            "dec_conv": dec_conv,
            "dec_attn": dec_attn,
            "dec_rope_freq": dec_rope_freq,
        }
        super().__init__(order, stride, enc_mode, encoder, decoder)

        def block(
            index: int, channels: int, heads: int, patch: int, convolves: bool, attends: bool, base: float
        ) -> nn.Module:
            curve = index % len(self.curves)
            attention = (
                RotaryAttention(channels, heads, patch, qkv_bias, qk_scale, curve, False, base, by_voxels=True)
                if attends
                else None
            )
            return LiteBlock(channels, convolves, attention, mlp_ratio, pre_norm)

        def blocks(depth: int, *stage: Any) -> list[nn.Module]:
            return [block(index, *stage) for index in range(depth)]

        batch_norm: Norm = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)
        self.assemble(
            Embedding(in_channels, enc_channels[0], batch_norm),
            batch_norm,
            enc_channels,
            [blocks(*stage) for stage in zip(*encoder.values(), strict=True)],
            dec_channels,
            [] if enc_mode else [blocks(*stage) for stage in zip(*decoder.values(), strict=True)],
        )
