"""Rotary embeddings of positions in space."""

import torch
from torch import Tensor, nn

from .attention import SerializedAttention
from .geometry import Patches


class Rope(nn.Module):
    """Turns pairs of channels of query and key by angles that grow along x, y and z, a third of the channels each.

    Args:
        head_channels: D; channels i and i + D / 6 of each third are a pair.
        base: the slowest pair turns almost ``base`` times slower than the first, which turns a radian a unit.
        in_checkpoints: whether the frequencies are among the weights.
    """

    inv_freq: Tensor

    def __init__(self, head_channels: int, base: float, in_checkpoints: bool):
        super().__init__()
        if head_channels % 6:
            raise ValueError(f"rotary embeddings need heads of a multiple of 6 channels, got {head_channels}")
        third = head_channels // 3
        inv_freq = 1.0 / base ** (torch.arange(0, third, 2).float() / third)
        self.register_buffer("inv_freq", inv_freq, persistent=in_checkpoints)

    def forward(self, qkv: Tensor, positions: Tensor) -> Tensor:  # (T, 3, H, D), (T, 3) -> (T, 3, H, D)
        angles = (positions.to(self.inv_freq.dtype)[:, :, None] * self.inv_freq)[:, None, None]  # (T, 1, 1, 3, D / 6)
        cos, sin = angles.cos().to(qkv.dtype), angles.sin().to(qkv.dtype)
        first, second = qkv[:, :2].unflatten(-1, (3, 2, -1)).unbind(-2)  # (T, 2, H, 3, D / 6) each
        turned = torch.stack([first * cos - second * sin, second * cos + first * sin], -2).flatten(-3)
        return torch.cat([turned, qkv[:, 2:]], 1)


class RotaryAttention(SerializedAttention):
    """Attention with rotary embeddings: query and key are turned by each voxel's position.

    Args:
        base: of ``Rope``.
        by_voxels: whether positions are the voxel's coordinates at its level; if not, the mean position of its points
            in the cloud's unit.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        patch_size: int,
        qkv_bias: bool,
        scale: float | None,
        order_index: int,
        rpe: bool,
        base: float,
        by_voxels: bool,
    ):
        super().__init__(channels, num_heads, patch_size, qkv_bias, scale, order_index, rpe)
        self.by_voxels = by_voxels
        self.rope = Rope(channels // num_heads, base, in_checkpoints=not by_voxels)

    def rotate(self, qkv: Tensor, patches: Patches) -> Tensor:  # (T, 3, H, D) -> (T, 3, H, D)
        """Query and key with their positions in them."""
        positions = patches.voxels if self.by_voxels else patches.coord
        if positions is None:
            raise ValueError("the batch has no positions, which rotary embeddings need")
        return self.rope(qkv, positions)
