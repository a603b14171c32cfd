"""Sparse operators in plain torch: right on every device, differentiable, the measure for compiled ones.

A voxel is an integer coordinate (batch, x, y, z) with batch >= 0 and 0 <= x, y, z < 2**18. A kernel map pairs the
voxels of an input with those of an output, offset by offset; a convolution gathers, multiplies and adds along it.
"""

from itertools import product

import torch
from torch import Tensor

from .kernel_map import KernelMap

COORD_BITS = 18
COORD_LIMIT = 1 << COORD_BITS


def pack_keys(coords: Tensor) -> Tensor:
    """Pack int (V, 4) coordinates (batch, x, y, z) into sortable int64 (V,) keys.

    Raises ValueError where a coordinate lies outside [0, 2**18) or the batch index outside [0, 512).
    """
    if coords.ndim != 2 or coords.shape[1] != 4:
        raise ValueError(f"coords must be (V, 4) of batch, x, y, z, got {tuple(coords.shape)}")
    coords = coords.long()
    if coords.numel() and (coords.min() < 0 or coords[:, 1:].max() >= COORD_LIMIT or coords[:, 0].max() >= 512):
        raise ValueError(
            f"voxel coordinates must lie in [0, {COORD_LIMIT}) and batch indices in [0, 512), got "
            f"{coords.amin(0).tolist()} to {coords.amax(0).tolist()}; use a larger grid size or smaller tiles"
        )
    batch, x, y, z = coords.unbind(1)
    return ((batch << COORD_BITS | x) << COORD_BITS | y) << COORD_BITS | z


def submanifold_map(coords: Tensor, kernel_size: int) -> KernelMap:
    """Kernel map of a submanifold convolution: output voxels are the input voxels, the kernel is centred.

    ``coords`` is int (V, 4), its rows distinct; ``kernel_size`` is odd. The offset (i, j, k) of the kernel reads the
    voxel at (i, j, k) - (kernel_size - 1) / 2 from the output voxel.
    """
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, got {kernel_size}")
    num_voxels = len(coords)
    keys, order = pack_keys(coords).sort()
    coords = coords.long()[order]
    half = kernel_size // 2
    shifts = list(product(range(-half, half + 1), repeat=3))
    rows = torch.full((len(shifts), num_voxels), -1, dtype=torch.int32, device=coords.device)
    rows[len(shifts) // 2] = torch.arange(num_voxels, device=coords.device)
    for offset, shift in enumerate(shifts[: len(shifts) // 2]):  # the opposite offset has the same pairs backwards
        neighbour = coords[:, 1:] + coords.new_tensor(shift)
        inside = ((neighbour >= 0) & (neighbour < COORD_LIMIT)).all(1)
        delta = (shift[0] << 2 * COORD_BITS) + (shift[1] << COORD_BITS) + shift[2]
        slot = torch.searchsorted(keys, keys + delta).clamp_(max=max(num_voxels - 1, 0))
        out = (inside & (keys[slot] == keys + delta)).nonzero().squeeze(1)
        found = order[slot[out]]
        rows[offset, order[out]] = found.int()
        rows[-1 - offset, found] = order[out].int()
    return KernelMap(rows)


def strided_map(coords: Tensor) -> tuple[Tensor, KernelMap]:
    """Coarser voxels, int64 (W, 4) in ascending order, and the kernel map of a convolution of kernel 2, stride 2.

    The output voxel of c is floor(c / 2); the offset is the remainder.
    """
    parent_key = pack_keys(torch.cat([coords[:, :1].long(), coords[:, 1:].long() >> 1], 1))
    unique, parent = parent_key.unique(return_inverse=True)
    mask = COORD_LIMIT - 1
    coarse = torch.stack(
        [unique >> 3 * COORD_BITS, unique >> 2 * COORD_BITS & mask, unique >> COORD_BITS & mask, unique & mask], 1
    )
    remainder = coords[:, 1:].long() & 1
    offset = remainder[:, 0] * 4 + remainder[:, 1] * 2 + remainder[:, 2]
    children = torch.full((8, len(coarse)), -1, dtype=torch.int32, device=coords.device)
    parents = torch.full((8, len(coords)), -1, dtype=torch.int32, device=coords.device)
    rows = torch.arange(len(coords), device=coords.device)
    children[offset, parent] = rows.int()
    parents[offset, rows] = parent.int()
    return coarse, KernelMap(children, parents)


def sparse_conv(features: Tensor, weight: Tensor, kernel_map: KernelMap, bias: Tensor | None = None) -> Tensor:
    """Sparse convolution.

    Args:
        features: (num_in, C_in).
        weight: (C_out, kx, ky, kz, C_in), spconv's layout, without a flip.
        kernel_map: pairs for kx * ky * kz offsets.
        bias: (C_out,) or None.

    Returns:
        (num_out, C_out), zeros (plus bias) for output voxels that no pair reaches.
    """
    out_channels, in_channels = weight.shape[0], weight.shape[-1]
    kernels = weight.reshape(out_channels, -1, in_channels)  # (C_out, K, C_in)
    if features.shape != (kernel_map.num_in, in_channels):
        raise ValueError(f"features must be ({kernel_map.num_in}, {in_channels}), got {tuple(features.shape)}")
    if kernels.shape[1] != len(kernel_map.counts):
        raise ValueError(f"weight has {kernels.shape[1]} offsets, the kernel map {len(kernel_map.counts)}")
    out = features.new_zeros(kernel_map.num_out, out_channels)
    if bias is not None:
        out += bias
    start = 0
    for offset, count in enumerate(kernel_map.counts):
        pairs = slice(start, start + count)
        # a row of the output occurs at most once in an offset, so the sum is the same on every run
        out.index_add_(0, kernel_map.out_rows[pairs], features[kernel_map.in_rows[pairs]] @ kernels[:, offset].t())
        start += count
    return out
