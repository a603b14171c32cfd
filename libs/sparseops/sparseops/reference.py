"""Kernel maps and sparse convolution in plain torch: right on every device, the measure for compiled ones.

A voxel is an integer coordinate (batch, x, y, z) with batch >= 0 and 0 <= x, y, z < 2**18. A kernel map pairs the
voxels of an input with those of an output, offset by offset; a convolution gathers, multiplies and adds along it.
"""

from itertools import product

import torch
from torch import Tensor, nn

from .kernel_map import KernelMap
from .values import can_be_read

ACTIVATIONS = {"none": lambda x: x, "relu": torch.relu, "gelu": nn.functional.gelu}
COORD_BITS = 18
COORD_LIMIT = 1 << COORD_BITS


def pack_keys(coords: Tensor, check: bool = True) -> Tensor:
    """Pack coordinates of voxels into keys that sort as they do.

    Args:
        coords: integers (V, 4) of batch, x, y, z.
        check: whether values are checked, for which a GPU is read; unchecked, wrong ones give meaningless keys.

    Returns:
        int64 (V,).

    Raises:
        ValueError: wrong shape or dtype; if checked, a coordinate outside [0, 2**18) or a batch index outside [0, 512).
    """
    if coords.is_floating_point() or coords.is_complex():
        raise ValueError(f"coords must be integers, got {coords.dtype}")
    if coords.ndim != 2 or coords.shape[1] != 4:
        raise ValueError(f"coords must be (V, 4) of batch, x, y, z, got {tuple(coords.shape)}")
    coords = coords.long()
    if check:
        check_limits(coords)
    batch, x, y, z = coords.unbind(1)
    return ((batch << COORD_BITS | x) << COORD_BITS | y) << COORD_BITS | z


def check_limits(coords: Tensor) -> None:
    """Raises ValueError where a coordinate of (V, 4) lies outside [0, 2**18) or the batch index outside [0, 512)."""
    if can_be_read(coords) and not _within_limits(coords):
        raise ValueError(
            f"voxel coordinates must lie in [0, {COORD_LIMIT}) and batch indices in [0, 512), got "
            f"{coords.amin(0).tolist()} to {coords.amax(0).tolist()}; use a larger grid size or smaller tiles"
        )


def _within_limits(coords: Tensor) -> bool:
    limits = coords.new_full((4,), COORD_LIMIT)
    limits[0] = 512
    return bool(((coords >= 0) & (coords < limits)).all())


def submanifold_map(coords: Tensor, kernel_size: int) -> KernelMap:
    """See sparseops.submanifold_map."""
    num_voxels = len(coords)
    keys, order = pack_keys(coords).sort()
    if (keys[1:] == keys[:-1]).any():
        raise ValueError("coords holds a voxel more than once")
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
    """See sparseops.strided_map."""
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
    if (children >= 0).sum() < len(coords):
        raise ValueError("coords holds a voxel more than once")
    parents[offset, rows] = parent.int()
    return coarse, KernelMap(children, parents)


def sparse_conv(
    features: Tensor,
    kernels: Tensor,
    kernel_map: KernelMap | None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """Sparse convolution of features (num_in, C_in) with kernels (C_out, K, C_in) to (num_out, C_out)."""
    sums = torch.promote_types(features.dtype, torch.float32)
    own = torch.arange(len(features), device=features.device)[None]
    forwards = own if kernel_map is None else kernel_map.forwards
    out = torch.zeros(forwards.shape[1], kernels.shape[0], dtype=sums, device=features.device)
    for offset, rows in enumerate(forwards):
        present = ((rows >= 0) & (rows < len(features))).nonzero().squeeze(1)
        # a row of the output occurs at most once in an offset, so the sum is the same on every run
        products = features[rows[present]].to(sums) @ kernels[:, offset].t().to(sums)
        out = out.index_add(0, present, products)
    for term in (bias, residual):
        out = out if term is None else out + term
    return ACTIVATIONS[activation](out).to(features.dtype)


def layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, residual: Tensor | None = None
) -> Tensor:
    """See sparseops.layer_norm."""
    out = nn.functional.layer_norm(x, x.shape[1:], weight, bias, eps)
    return out if residual is None else out + residual
