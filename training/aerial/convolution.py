"""Sparse convolution with gradients.

On a CPU the compiled operator runs forwards and, along the inverse map, backwards. On a GPU tables of neighbours take
the place of lists of pairs: every offset's neighbour is gathered, present or not, and one dense product does the rest,
which is more arithmetic, a fiftieth of the launches, and no atomic additions.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from sparseops import KernelMap, pack_keys, sparse_conv
from sparseops.reference import COORD_BITS
from torch import Tensor, nn

import app.networks.sparse
from app.networks.spunet import SpUNet, SpUNetPlan
from app.networks.voxel_batch import VoxelBatch


@dataclass(frozen=True)
class Table:
    """Rows of the input that each output voxel reads, int32 (num_out, K), num_in where there is none; and backwards."""

    forwards: Tensor
    backwards: Tensor

    def inverse(self) -> "Table":
        return Table(self.backwards, self.forwards)


@dataclass(frozen=True)
class Level:
    """Voxels int64 (V, 4) and, for all but the coarsest, each one's row in the next level, int64 (V,)."""

    coords: Tensor
    parent: Tensor | None


def levels_of(coords: Tensor, num_stages: int) -> list[Level]:
    """The voxels of every level, from fine to coarse."""
    levels = []
    for _ in range(num_stages):
        halved = torch.cat([coords[:, :1], coords[:, 1:] >> 1], 1)
        keys, parent = pack_keys(halved).unique(return_inverse=True)
        coarse = halved.new_empty(len(keys), 4).index_copy_(0, parent, halved)
        levels.append(Level(coords, parent))
        coords = coarse
    return [*levels, Level(coords, None)]


def submanifold_table(coords: Tensor, kernel_size: int) -> Table:
    """Neighbours of voxels int64 (V, 4) in a centred kernel."""
    half = kernel_size // 2
    keys = pack_keys(coords + coords.new_tensor([0, half, half, half]))  # no shift borrows from the next coordinate
    steps = torch.arange(-half, half + 1, device=coords.device)
    shifts = ((steps[:, None, None] << 2 * COORD_BITS) + (steps[:, None] << COORD_BITS) + steps).reshape(-1)
    ordered, order = keys.sort()
    queries = keys[:, None] + shifts  # (V, K)
    slot = torch.searchsorted(ordered, queries).clamp_(max=len(keys) - 1)
    rows = torch.where(ordered[slot] == queries, order[slot], len(coords)).int()
    return Table(rows, rows.flip(1))


def strided_table(level: Level, num_coarse: int) -> Table:
    """The children of each coarser voxel, (num_coarse, 8), and the parent of each voxel, (V, 8)."""
    coords, parent = level.coords, level.parent
    rows = torch.arange(len(coords), device=coords.device)
    offset = (coords[:, 1] & 1) * 4 + (coords[:, 2] & 1) * 2 + (coords[:, 3] & 1)
    children = torch.full((num_coarse, 8), len(coords), dtype=torch.int32, device=coords.device)
    children[parent, offset] = rows.int()
    parents = torch.full((len(coords), 8), num_coarse, dtype=torch.int32, device=coords.device)
    parents[rows, offset] = parent.int()
    return Table(children, parents)


def plan(network: SpUNet, batch: VoxelBatch) -> SpUNetPlan:
    """``SpUNet.plan`` with tables."""
    levels = levels_of(batch.voxels, network.num_stages)
    return SpUNetPlan(
        submanifold_table(levels[0].coords, 5),
        [submanifold_table(level.coords, 3) for level in levels],
        [strided_table(fine, len(coarse.coords)) for fine, coarse in pairwise(levels)],
    )


def gather(features: Tensor, rows: Tensor) -> Tensor:
    """Features bfloat16 (num_in, C) of rows (num_out, K) side by side, (num_out, K * C), zeros where there is none.

    Rows are moved in units of 16 bytes, so C is a multiple of 8.
    """
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])]).view(torch.complex128)
    return padded.index_select(0, rows.reshape(-1)).view(torch.bfloat16).reshape(len(rows), -1)


class Convolve(torch.autograd.Function):
    """features (num_in, C_in), kernels (K, C_in, C_out) -> (num_out, C_out); products of bfloat16, float32 around."""

    @staticmethod
    def forward(ctx, features: Tensor, kernels: Tensor, table: Table) -> Tensor:
        missing = -features.shape[1] % 8
        features = nn.functional.pad(features.bfloat16(), (0, missing))
        kernels = nn.functional.pad(kernels.bfloat16(), (0, 0, 0, missing))
        ctx.missing = missing
        ctx.save_for_backward(features, kernels)
        ctx.table = table
        return (gather(features, table.forwards) @ kernels.flatten(0, 1)).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        features, kernels = ctx.saved_tensors
        gradient = gradient.bfloat16()
        for_kernels = (gather(features, ctx.table.forwards).t() @ gradient).reshape(kernels.shape)
        for_features = gather(gradient, ctx.table.backwards) @ kernels.transpose(1, 2).flatten(0, 1)
        keep = features.shape[1] - ctx.missing
        return for_features[:, :keep].float(), for_kernels[:, :keep].float(), None


def convolve(features: Tensor, weight: Tensor, table: Table, bias: Tensor | None = None) -> Tensor:
    """``sparseops.sparse_conv`` along a table."""
    kernels = weight.flatten(1, 3).permute(1, 2, 0)  # (K, C_in, C_out)
    out = Convolve.apply(features, kernels, table)
    return out if bias is None else out + bias


class ConvolveCompiled(torch.autograd.Function):
    """features float32 (num_in, C_in), weight (C_out, k, k, k, C_in) -> (num_out, C_out), by the compiled operator."""

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.map = kernel_map
        with torch.no_grad():
            return sparse_conv(features, weight, kernel_map)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        features, weight = ctx.saved_tensors
        gradient, counts = gradient.contiguous(), ctx.map.counts
        for_weight = features.new_empty(len(counts), features.shape[1], gradient.shape[1])
        pairs = zip(ctx.map.in_rows.split(counts), ctx.map.out_rows.split(counts), for_weight, strict=True)
        with torch.no_grad():
            for in_rows, out_rows, product in pairs:
                torch.mm(features.index_select(0, in_rows).t(), gradient.index_select(0, out_rows), out=product)
            for_features = sparse_conv(gradient, weight.permute(4, 1, 2, 3, 0).contiguous(), ctx.map.inverse())
        return for_features, for_weight.permute(2, 0, 1).reshape(weight.shape), None


def convolve_compiled(features: Tensor, weight: Tensor, kernel_map: KernelMap, bias: Tensor | None = None) -> Tensor:
    """``sparseops.sparse_conv`` with gradients."""
    out = ConvolveCompiled.apply(features.contiguous(), weight, kernel_map)
    return out if bias is None else out + bias


def use_compiled() -> None:
    """From here on the networks of this process convolve, with gradients, by the compiled operator."""
    app.networks.sparse.sparse_conv = convolve_compiled


def use_tables() -> None:
    """From here on the networks of this process convolve along tables."""
    app.networks.sparse.sparse_conv = convolve
    SpUNet.plan = plan
