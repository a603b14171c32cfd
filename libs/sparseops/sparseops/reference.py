"""Sparse operators in plain torch: right on every device, differentiable, the measure for compiled ones.

A voxel is an integer coordinate (batch, x, y, z) with batch >= 0 and 0 <= x, y, z < 2**18. A kernel map pairs the
voxels of an input with those of an output, offset by offset; a convolution gathers, multiplies and adds along it.
"""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

COORD_BITS = 18
COORD_LIMIT = 1 << COORD_BITS


@dataclass(frozen=True)
class KernelMap:
    """Pairs of rows, grouped by kernel offset.

    ``in_rows`` and ``out_rows`` are int64 (P,), ``counts`` gives the pairs of each of the K offsets, in the order of
    the weight's flattened (kx, ky, kz). ``num_in`` and ``num_out`` are the voxel counts on either side.
    """

    in_rows: Tensor
    out_rows: Tensor
    counts: tuple[int, ...]
    num_in: int
    num_out: int

    def inverse(self) -> "KernelMap":
        """The same pairs backwards, as an inverse convolution uses them."""
        return KernelMap(self.out_rows, self.in_rows, self.counts, self.num_out, self.num_in)


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
    pairs = []  # of the first half of the offsets, input row and output row
    for shift in list(product(range(-half, half + 1), repeat=3))[: kernel_size**3 // 2]:
        neighbour = coords[:, 1:] + coords.new_tensor(shift)
        inside = ((neighbour >= 0) & (neighbour < COORD_LIMIT)).all(1)
        delta = (shift[0] << 2 * COORD_BITS) + (shift[1] << COORD_BITS) + shift[2]
        slot = torch.searchsorted(keys, keys + delta).clamp_(max=max(num_voxels - 1, 0))
        out = (inside & (keys[slot] == keys + delta)).nonzero().squeeze(1)
        pairs.append((order[slot[out]], order[out]))
    backwards = [(rows_out, rows_in) for rows_in, rows_out in reversed(pairs)]  # the opposite offset, the same pairs
    rows_in, rows_out = zip(*pairs, (order, order), *backwards, strict=True)
    counts = tuple(len(rows) for rows in rows_in)
    return KernelMap(torch.cat(rows_in), torch.cat(rows_out), counts, num_voxels, num_voxels)


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
    rows_in = offset.argsort(stable=True)
    counts = tuple(torch.bincount(offset, minlength=8).tolist())
    return coarse, KernelMap(rows_in, parent[rows_in], counts, len(coords), len(coarse))


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
