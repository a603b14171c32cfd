"""The operators of serialized attention in plain torch: right on every device, the measure for compiled ones.

Arguments are those of the operators of the same name under ``torch.ops.sparseops``; they are checked by the callers.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .values import can_be_read

CURVES = ("z", "z-trans", "hilbert", "hilbert-trans")
REDUCTIONS = ("sum", "mean", "max", "min")
BIAS_ELEMENTS = 1 << 24  # pairs of points whose bias is held at a time, 64 MiB a head


def _interleave(axes: list[Tensor], depth: int) -> Tensor:
    """int64 (N,) with the low ``depth`` bits of x, y, z by turns, x the highest of each three."""
    code = torch.zeros_like(axes[0])
    for level in range(depth):
        for place, axis in zip((2, 1, 0), axes, strict=True):
            code |= (axis >> level & 1) << 3 * level + place
    return code


def _hilbert_axes(axes: list[Tensor], depths: Tensor, depth: int) -> list[Tensor]:
    """The transposed Hilbert index of J. Skilling, "Programming the Hilbert curve", AIP Conf. Proc. 707 (2004).

    ``depths`` (N,) holds each point's own depth, at most ``depth``.
    """
    x = list(axes)
    for level in reversed(range(depth)):
        lower = torch.where(level < depths, (1 << level) - 1, 0)
        for axis in range(3):
            inverts = (x[axis] >> level & 1).bool()
            exchanged = (x[0] ^ x[axis]) & lower
            x[axis] = torch.where(inverts, x[axis], x[axis] ^ exchanged)
            x[0] = torch.where(inverts, x[0] ^ lower, x[0] ^ exchanged)
    x[1] = x[1] ^ x[0]
    x[2] = x[2] ^ x[1]
    flips = torch.zeros_like(x[2])
    for level in range(1, depth):
        flips ^= (x[2] >> level & 1) * ((1 << level) - 1)
    return [axis ^ flips for axis in x]


def serialization_codes(
    grid_coord: Tensor, batch: Tensor | None, depths: Tensor | None, depth: int, curves: list[int]
) -> Tensor:
    """int64 (K, N)."""
    own = torch.full_like(grid_coord[:, 0], depth, dtype=torch.int64) if depths is None else depths
    above = 0 if batch is None else batch << 3 * depth
    codes = []
    for curve in curves:
        x, y, z = grid_coord.long().unbind(1)
        axes = [y, x, z] if CURVES[curve].endswith("trans") else [x, y, z]
        if CURVES[curve].startswith("hilbert"):
            axes = _hilbert_axes(axes, own, depth)
        codes.append(_interleave(axes, depth) | above)
    return torch.stack(codes)


def sort_codes(codes: Tensor, num_bits: int) -> tuple[Tensor, Tensor]:
    """int64 (K, N) twice: the stable order of every row, and the place of every point in it."""
    orders = codes.argsort(dim=1, stable=True)
    places = torch.arange(codes.shape[1], device=codes.device).expand_as(codes)
    return orders, torch.empty_like(orders).scatter_(1, orders, places)


def _check_offsets(name: str, offsets: Tensor, end: int) -> None:
    """Raises ValueError if ``offsets``, on the CPU, do not ascend from 0 to ``end``."""
    if offsets[0] != 0 or offsets[-1] != end:
        raise ValueError(f"{name} must begin with 0 and end with {end}, got {offsets[0]} and {offsets[-1]}")
    descents = (offsets.diff() < 0).nonzero().flatten()
    if len(descents):
        at = int(descents[0])
        raise ValueError(f"{name} must ascend, got {offsets[at]} before {offsets[at + 1]} at {at}")


def segment_reduce(values: Tensor, offsets: Tensor, reduction: int) -> Tensor:
    """(S, C) in the dtype of ``values``; sums and means are formed in float64."""
    if can_be_read(offsets):
        _check_offsets("offsets", offsets.cpu(), len(values))
    numbers = torch.arange(len(offsets) - 1, device=values.device)
    segment = torch.repeat_interleave(numbers, offsets.diff(), output_size=len(values))
    out = values.new_zeros(len(offsets) - 1, values.shape[1], dtype=torch.float64)
    torch_name = ("sum", "mean", "amax", "amin")[reduction]
    out.scatter_reduce_(0, segment[:, None].expand_as(values), values.double(), torch_name, include_self=False)
    return out.to(values.dtype)


def patch_padding(
    offset: Tensor, patch_size: int, num_points: int, num_padded: int, num_patches: int
) -> tuple[Tensor, Tensor, Tensor]:
    """pad (num_padded,), unpad (num_points,) int64 and cu_seqlens (num_patches + 1,) int32."""
    pad: list[Tensor] = []
    unpad: list[Tensor] = []
    starts: list[int] = []
    start = padded_start = 0
    for end in offset.tolist():
        count = end - start
        padded = -(-count // patch_size) * patch_size if count > patch_size else count
        place = torch.arange(padded)
        pad.append(start + torch.where(place < count, place, place - patch_size))
        unpad.append(padded_start + place[:count])
        starts += range(padded_start, padded_start + padded, patch_size)
        start, padded_start = end, padded_start + padded
    cu_seqlens = torch.tensor([*starts, padded_start], dtype=torch.int32, device=offset.device)
    none = torch.empty(0, dtype=torch.int64)
    return torch.cat([none, *pad]).to(offset.device), torch.cat([none, *unpad]).to(offset.device), cu_seqlens


def patch_attention(
    qkv: Tensor, cu_seqlens: Tensor, scale: float, table: Tensor | None = None, voxels: Tensor | None = None
) -> Tensor:
    """(T, H * D): runs of patches of one length go through torch's attention together."""
    on_cpu = cu_seqlens.cpu()
    _check_offsets("cu_seqlens", on_cpu, len(qkv))
    starts = on_cpu.tolist()
    lengths = [end - begin for begin, end in pairwise(starts)]
    out = qkv.new_empty(qkv.shape[0], qkv.shape[2], qkv.shape[3])
    first = 0
    while first < len(lengths):
        length = lengths[first]
        last = first + 1
        limit = len(lengths) if table is None else first + max(BIAS_ELEMENTS // max(length, 1) ** 2, 1)
        while last < min(limit, len(lengths)) and lengths[last] == length:
            last += 1
        rows = slice(starts[first], starts[last])
        if length:
            query, key, value = qkv[rows].unflatten(0, (last - first, length)).permute(2, 0, 3, 1, 4)
            mask = None
            if table is not None and voxels is not None:
                mask = _relative_bias(table, voxels[rows].unflatten(0, (last - first, length))).to(qkv.dtype)
            attended = scaled_dot_product_attention(query, key, value, mask, scale=scale)  # (P, H, L, D)
            out[rows] = attended.transpose(1, 2).flatten(0, 1)
        first = last
    return out.flatten(1)


def _relative_bias(table: Tensor, voxels: Tensor) -> Tensor:  # (3 * (2 * bound + 1), H), (P, L, 3) -> (P, H, L, L)
    bound = len(table) // 6
    distance = (voxels.unsqueeze(2) - voxels.unsqueeze(1)).clamp_(-bound, bound).add_(bound)
    tables = table.unflatten(0, (3, -1)).transpose(1, 2)  # (3, H, 2 * bound + 1)
    along = [one[:, rows] for one, rows in zip(tables, distance.unbind(3), strict=True)]  # (H, P, L, L) each
    return (along[0] + along[1] + along[2]).transpose(0, 1).contiguous()
