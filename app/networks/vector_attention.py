"""Grouped vector attention, and the blocks of Point Transformer V2 around it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pointops import grouping2
from torch import Tensor, nn

from .layers import Layers, concatenate_chunks
from .neighbourhood import Neighbours, softmax

CHUNK_POINTS = 1 << 14


class PointNorm(nn.Sequential):
    """A batch norm, under its name in checkpoints."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)


class GroupedLinear(nn.Module):
    """The weighted sum of the channels of each group, (V, C) -> (V, groups)."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(1, channels))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).unflatten(1, (self.groups, -1)).sum(2)


@dataclass(frozen=True)
class Design:
    """What all blocks of a network have in common.

    Attributes:
        qkv_bias: whether query, key and value have biases.
        pe_multiplier, pe_bias: whether positions scale, and shift, what is compared.
        score: makes the layer from channels to groups.
    """

    qkv_bias: bool
    pe_multiplier: bool
    pe_bias: bool
    score: Callable[[int, int], nn.Module]


class GroupedVectorAttention(nn.Module):
    """Grouped vector attention among neighbours."""

    def __init__(self, channels: int, groups: int, design: Design):
        super().__init__()
        if channels % groups:
            raise ValueError(f"channels must be a multiple of their groups, got {channels} and {groups}")
        self.groups = groups
        self.linear_q, self.linear_k = (
            Layers(nn.Linear(channels, channels, bias=design.qkv_bias), PointNorm(channels), nn.ReLU())
            for _ in range(2)
        )
        self.linear_v = nn.Linear(channels, channels, bias=design.qkv_bias)
        self.linear_p_multiplier = _position_layers(channels) if design.pe_multiplier else None
        self.linear_p_bias = _position_layers(channels) if design.pe_bias else None
        self.weight_encoding = Layers(
            design.score(channels, groups), PointNorm(groups), nn.ReLU(), nn.Linear(groups, groups)
        )

    def forward(self, x: Tensor, near: Neighbours) -> Tensor:  # (n, C) -> (n, C)
        key, value = self.linear_k(x), self.linear_v(x)

        def attend(query: Tensor, index: Tensor, relative: Tensor) -> Tensor:
            compared, values = grouping2(key, index) - query[:, None], grouping2(value, index)  # (m, s, C)
            if self.linear_p_multiplier is not None:
                compared = compared * self.linear_p_multiplier(relative)
            if self.linear_p_bias is not None:
                bias = self.linear_p_bias(relative)
                compared, values = compared + bias, values + bias
            weight = softmax(self.weight_encoding(compared)) * (index >= 0)[..., None]  # (m, s, groups)
            return (values.unflatten(2, (self.groups, -1)) * weight[..., None]).sum(1).flatten(1)

        return concatenate_chunks(CHUNK_POINTS, attend, self.linear_q(x), near.index, near.relative)


class GroupedVectorBlock(nn.Module):
    """Attention between two linear layers, beside a shortcut."""

    def __init__(self, channels: int, groups: int, design: Design):
        super().__init__()
        self.attn = GroupedVectorAttention(channels, groups, design)
        self.fc1 = nn.Linear(channels, channels, bias=False)
        self.fc3 = nn.Linear(channels, channels, bias=False)
        self.norm1, self.norm2, self.norm3 = (PointNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, near: Neighbours) -> Tensor:  # (n, C) -> (n, C)
        out = torch.relu(self.norm1(self.fc1(x)))
        out = torch.relu(self.norm2(self.attn(out, near)))
        return torch.relu(x + self.norm3(self.fc3(out)))


class Blocks(nn.Module):
    """Blocks on one level."""

    def __init__(self, depth: int, channels: int, groups: int, design: Design):
        super().__init__()
        self.blocks = nn.ModuleList(GroupedVectorBlock(channels, groups, design) for _ in range(depth))

    def forward(self, x: Tensor, near: Neighbours) -> Tensor:
        for block in self.blocks:
            x = block(x, near)
        return x


def projection(in_channels: int, channels: int, bias: bool = True) -> Layers:
    """A linear layer, a norm and a ReLU."""
    return Layers(nn.Linear(in_channels, channels, bias=bias), PointNorm(channels), nn.ReLU())


def _position_layers(channels: int) -> Layers:
    return Layers(nn.Linear(3, channels), PointNorm(channels), nn.ReLU(), nn.Linear(channels, channels))
