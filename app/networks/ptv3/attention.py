"""Multi-head attention inside the patches of a serialized level."""

import torch
from sparseops import patch_attention
from torch import Tensor, nn

from app.networks.batch_invariant_linear import Linear

from .geometry import Patches


class RPE(nn.Module):
    """The table of a bias for every pair of a patch, by their clamped distance in voxels along each axis."""

    def __init__(self, patch_size: int, num_heads: int):
        super().__init__()
        bound = int((4 * patch_size) ** (1 / 3) * 2)
        self.rpe_table = nn.Parameter(torch.zeros(3 * (2 * bound + 1), num_heads))


class SerializedAttention(nn.Module):
    """Multi-head attention inside patches.

    Args:
        channels: C, a multiple of ``num_heads``.
        patch_size: the config's, which bounds the relative positions.
        qkv_bias: whether query, key and value have one.
        scale: of the scores; None for (C / num_heads) ** -0.5.
        order_index: which curve's patches.
        rpe: whether relative positions bias the scores.

    Attributes:
        cast: what query, key, value and the result are rounded to; None for nothing.
    """

    cast: torch.dtype | None = None

    def __init__(
        self,
        channels: int,
        num_heads: int,
        patch_size: int,
        qkv_bias: bool = True,
        scale: float | None = None,
        order_index: int = 0,
        rpe: bool = False,
    ):
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"channels must be a multiple of the number of heads, got {channels} and {num_heads}")
        self.num_heads = num_heads
        self.scale = scale or (channels // num_heads) ** -0.5
        self.order_index = order_index
        self.qkv = Linear(channels, channels * 3, bias=qkv_bias)
        self.proj = Linear(channels, channels)
        self.rpe = RPE(patch_size, num_heads) if rpe else None

    def forward(
        self, x: Tensor, patches: dict[int, Patches], residual: Tensor | None = None
    ) -> Tensor:  # (V, C), (V, C) -> (V, C)
        own = patches[self.order_index]
        qkv = self.qkv(x, own.into).unflatten(1, (3, self.num_heads, -1))  # (T, 3, H, D)
        return self.proj(self.attend(self.rotate(qkv, own), own), own.out_of, residual)

    def rotate(self, qkv: Tensor, patches: Patches) -> Tensor:  # (T, 3, H, D) -> (T, 3, H, D)
        """Query and key with their positions in them, for attention that has rotary embeddings."""
        return qkv

    def attend(self, qkv: Tensor, patches: Patches) -> Tensor:  # (T, 3, H, D) -> (T, C)
        """Attention along the patches."""
        positions = {} if self.rpe is None else {"table": self.rpe.rpe_table, "voxels": patches.voxels.int()}
        return patch_attention(qkv, patches.cu_seqlens, self.scale, **positions, cast=self.cast)
