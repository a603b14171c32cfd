"""Order along space-filling curves: codes, their sorted orders and inverses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import reference_serial as reference
from .extension import compiled_for
from .reference_serial import CURVES
from .values import can_be_read, need_values

MAX_DEPTH = 16


class Serialization(NamedTuple):
    """Orders of N points along K curves, each int64 (K, N).

    ``codes`` are ascending along ``orders``: ``codes[k, orders[k]]`` is sorted, points of equal code keep their order.
    ``inverses[k, i]`` is the place of point i. ``num_bits`` is the highest number of bits that a code may use.
    """

    codes: Tensor
    orders: Tensor
    inverses: Tensor
    num_bits: int


def serialization_depth(grid_coord: Tensor) -> int:
    """Bits of the largest coordinate plus one, PTv3's depth of a cloud; 1 for no points. Reads the device.

    Raises ValueError where ``grid_coord`` is not int32 or int64.
    """
    _check_integers(grid_coord)
    need_values("grid_coord", grid_coord)
    return max(int(grid_coord.max()) + 1, 1).bit_length() if grid_coord.numel() else 1


def serialize(
    grid_coord: Tensor,
    batch: Tensor | None = None,
    depth: int | Tensor | None = None,
    num_clouds: int | None = None,
    curves: Sequence[str] = CURVES,
    check: bool = True,
) -> Serialization:
    """Codes, orders and inverses of points along several curves at once.

    A code is the point's place on its curve in the low 3 * depth bits, under the index of its cloud. "z" interleaves
    the bits of x, y and z; "hilbert" is the curve of J. Skilling (AIP Conf. Proc. 707, 2004); "-trans" exchanges x and
    y first.

    Args:
        grid_coord: int32 or int64 (N, 3), contiguous, 0 <= coordinate < 2**depth.
        batch: int64 (N,), the index of each point's cloud; None for a single cloud.
        depth: levels of the curves, 1 to 16. An int64 tensor (num_clouds,) gives each cloud its own depth, so that a
            cloud is ordered as it would be alone; the clouds' indices then stand above the deepest one's bits.
            None: ``serialization_depth(grid_coord)``.
        num_clouds: clouds in ``batch``; None: as many as its largest index asks for.
        curves: names out of ``CURVES``.
        check: whether values are checked too; under torch.compile they never are. On a GPU that waits for the device.
            Checked or not, it is waited for where depth is None or a tensor, whose largest is read, and where
            num_clouds is None beside a batch; torch.compile breaks its graph there. Unchecked values out of range give
            meaningless codes, nothing worse.

    Raises:
        ValueError: wrong shape, dtype, device or name; coordinates or batch indices out of range; codes that would
            need more than 63 bits.
    """
    for name in curves:
        if name not in CURVES:
            raise ValueError(f"curves must be out of {', '.join(CURVES)}, got {name!r}")
    if grid_coord.ndim != 2 or grid_coord.shape[1] != 3:
        raise ValueError(f"grid_coord must be (N, 3), got {tuple(grid_coord.shape)}")
    _check_integers(grid_coord)
    if not grid_coord.is_contiguous():
        raise ValueError(f"grid_coord must be contiguous, got strides {grid_coord.stride()}")
    num_points = len(grid_coord)
    check = check and num_points > 0 and can_be_read(grid_coord)
    if num_points >= 1 << 31:
        raise ValueError(f"at most 2**31 - 1 points can be ordered, got {num_points}")
    if batch is None:
        if num_clouds not in (None, 1):
            raise ValueError(f"num_clouds is {num_clouds} without a batch")
        num_clouds = 1
    else:
        _check_vector("batch", batch, num_points, grid_coord)
        if num_clouds is None:
            need_values("batch", batch)
            num_clouds = max(int(batch.max()) + 1, 1) if num_points else 1
        if num_clouds < 1:
            raise ValueError(f"num_clouds must be at least 1, got {num_clouds}")
        if check:
            _check_batch(batch, num_clouds)

    depths = None
    if depth is None:
        depth = serialization_depth(grid_coord)
    elif isinstance(depth, Tensor):
        _check_vector("depth", depth, num_clouds, grid_coord)
        need_values("depth", depth)
        lowest, highest = (int(bound) for bound in depth.aminmax())
        if lowest < 1:
            raise ValueError(f"depth must be 1 to {MAX_DEPTH}, got {lowest}")
        depths, depth = (depth if batch is None else depth[batch.clamp(0, num_clouds - 1)]), highest
        depths = depths.expand(num_points).contiguous()
    cloud_bits = (num_clouds - 1).bit_length()
    if not 1 <= depth <= MAX_DEPTH:
        raise ValueError(
            f"depth must be 1 to {MAX_DEPTH}, got {depth}: coordinates must stay below 2**{MAX_DEPTH}; "
            "use a larger grid size or remove far outliers"
        )
    if 3 * depth + cloud_bits > 63:
        raise ValueError(
            f"codes of depth {depth} for {num_clouds} clouds need {3 * depth + cloud_bits} bits, 63 are there; "
            "use a larger grid size or fewer clouds at once"
        )
    if check:
        _check_coordinates(grid_coord, depth, depths)

    operators = torch.ops.sparseops if compiled_for(grid_coord) else reference
    numbers = [CURVES.index(name) for name in curves]
    codes = operators.serialization_codes(grid_coord, batch, depths, depth, numbers)
    orders, inverses = operators.sort_codes(codes, 3 * depth + cloud_bits)
    return Serialization(codes, orders, inverses, 3 * depth + cloud_bits)


def sort_codes(codes: Tensor, num_bits: int = 63) -> tuple[Tensor, Tensor]:
    """Stable orders of each row of ``codes`` and their inverses, both int64 (K, N).

    Args:
        codes: int64 (K, N), contiguous, 0 <= code < 2**num_bits; larger values are ordered by their low bits alone.
        num_bits: 1 to 63; fewer bits sort faster.

    Raises:
        ValueError: wrong shape, dtype or number of bits.
    """
    if codes.ndim != 2 or codes.dtype != torch.int64 or not codes.is_contiguous():
        raise ValueError(
            f"codes must be contiguous int64 (K, N), got {codes.dtype} {tuple(codes.shape)}, strides {codes.stride()}"
        )
    if not 1 <= num_bits <= 63:
        raise ValueError(f"num_bits must be 1 to 63, got {num_bits}")
    if codes.shape[1] >= 1 << 31:
        raise ValueError(f"at most 2**31 - 1 points can be ordered, got {codes.shape[1]}")
    operators = torch.ops.sparseops if compiled_for(codes) else reference
    orders, inverses = operators.sort_codes(codes, num_bits)
    return orders, inverses


def _check_integers(grid_coord: Tensor) -> None:
    if grid_coord.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"grid_coord must be int32 or int64, got {grid_coord.dtype}")


def _check_vector(name: str, vector: Tensor, length: int, beside: Tensor) -> None:
    if vector.dtype != torch.int64 or tuple(vector.shape) != (length,) or not vector.is_contiguous():
        raise ValueError(f"{name} must be contiguous int64 ({length},), got {vector.dtype} {tuple(vector.shape)}")
    if vector.device != beside.device:
        raise ValueError(f"{name} must be on {beside.device} with grid_coord, got {vector.device}")


def _check_batch(batch: Tensor, num_clouds: int) -> None:
    lowest, highest = (int(bound) for bound in batch.aminmax())
    if lowest < 0 or highest >= num_clouds:
        raise ValueError(f"batch must lie in [0, {num_clouds}), got {lowest} to {highest}")


def _check_coordinates(grid_coord: Tensor, depth: int, depths: Tensor | None) -> None:
    lowest, highest = (int(bound) for bound in grid_coord.aminmax())
    if lowest < 0 or highest >> depth:
        raise ValueError(
            f"grid_coord must lie in [0, 2**{depth}) at depth {depth}, got {lowest} to {highest}; "
            "subtract the minimum, use a larger grid size or a greater depth"
        )
    if depths is not None and bool((grid_coord >> depths[:, None]).any()):
        raise ValueError("grid_coord must lie in [0, 2**depth) of each point's cloud; one lies outside its own")
