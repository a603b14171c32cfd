"""PT-v3m2, the Point Transformer V3 of Sonata and Concerto, and PT-v3m3, that of Utonia: inference only."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from app.networks.layer_norm import LayerNorm

from .attention import SerializedAttention
from .block import SerializedBlock
from .hierarchy import Hierarchy
from .pooling import LinearEmbedding
from .rope import RotaryAttention


class PointTransformerV3m2(Hierarchy):
    """Pointcept's ``PT-v3m2``. Arguments are those of its config; dropout, shuffling and freezing act in training only.

    Unlike PT-v3m1 it enters by a linear layer, has layer norms everywhere and serializes every level by itself.
    """

    stem_size = 3

    def __init__(
        self,
        in_channels: int = 6,
        order: Sequence[str] | str = ("z", "z-trans"),
        stride: Sequence[int] = (2, 2, 2, 2),
        enc_depths: Sequence[int] = (2, 2, 2, 6, 2),
        enc_channels: Sequence[int] = (32, 64, 128, 256, 512),
        enc_num_head: Sequence[int] = (2, 4, 8, 16, 32),
        enc_patch_size: Sequence[int] = (48, 48, 48, 48, 48),
        dec_depths: Sequence[int] = (2, 2, 2, 2),
        dec_channels: Sequence[int] = (64, 64, 128, 256),
        dec_num_head: Sequence[int] = (4, 4, 8, 16),
        dec_patch_size: Sequence[int] = (48, 48, 48, 48),
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        drop_path: float = 0.3,
        layer_scale: float | None = None,
        pre_norm: bool = True,
        shuffle_orders: bool = True,
        enable_rpe: bool = False,
        enable_flash: bool = True,
        upcast_attention: bool = False,
        upcast_softmax: bool = False,
        traceable: bool = False,
        mask_token: bool = False,
        enc_mode: bool = False,
        freeze_encoder: bool = False,
    ):
        encoder = {
            "enc_depths": enc_depths,
            "enc_channels": enc_channels,
            "enc_num_head": enc_num_head,
            "enc_patch_size": enc_patch_size,
        }
        decoder = {
            "dec_depths": dec_depths,
            "dec_channels": dec_channels,
            "dec_num_head": dec_num_head,
            "dec_patch_size": dec_patch_size,
        }
        super().__init__(order, stride, enc_mode, encoder, decoder)
        self.shares_patches = not enable_flash
        if enable_rpe and enable_flash:
            raise ValueError("enable_rpe=True and enable_flash=True exclude each other; accepted is one of them")

        def block(channels: int, heads: int, patch: int, order_index: int, in_decoder: bool) -> nn.Module:
            attend = self.attention(in_decoder)
            attention = attend(channels, heads, patch, qkv_bias, qk_scale, order_index, enable_rpe)
            return SerializedBlock(channels, attention, mlp_ratio, LayerNorm, pre_norm, layer_scale=layer_scale)

        def blocks(in_decoder: bool, depth: int, channels: int, heads: int, patch: int) -> list[nn.Module]:
            return [block(channels, heads, patch, i % len(self.curves), in_decoder) for i in range(depth)]

        self.assemble(
            LinearEmbedding(in_channels, enc_channels[0], LayerNorm, mask_token),
            LayerNorm,
            enc_channels,
            [blocks(False, *stage) for stage in zip(*encoder.values(), strict=True)],
            dec_channels,
            [] if enc_mode else [blocks(True, *stage) for stage in zip(*decoder.values(), strict=True)],
        )

    def attention(self, in_decoder: bool) -> Callable[..., SerializedAttention]:
        """What makes the attention of a block, from the arguments of SerializedAttention."""
        return SerializedAttention


class PointTransformerV3m3(PointTransformerV3m2):
    """Pointcept's ``PT-v3m3``: PT-v3m2 with rotary embeddings of the points' positions.

    Args:
        rope_base: how much slower the slowest channels turn; 0 or None for no rotary embeddings.
        dec_rope_enable: whether the decoder has them too.
        shift_coords, jitter_coords, rescale_coords: act in training only.
        config: those of PT-v3m2.
    """

    def __init__(
        self,
        rope_base: float | None = 10000,
        dec_rope_enable: bool = True,
        shift_coords: float | None = None,
        jitter_coords: float | None = None,
        rescale_coords: float | None = None,
        **config: Any,
    ):
        self.rope_base = rope_base  # before the blocks are made, which ask for it
        self.dec_rope_enable = dec_rope_enable
        super().__init__(**config)
        self.plans_positions = bool(rope_base)

    def attention(self, in_decoder: bool) -> Callable[..., SerializedAttention]:
        """What makes the attention of a block, from the arguments of SerializedAttention."""
        if not self.rope_base or (in_decoder and not self.dec_rope_enable):
            return super().attention(in_decoder)
        return partial(RotaryAttention, base=self.rope_base, by_voxels=False)
