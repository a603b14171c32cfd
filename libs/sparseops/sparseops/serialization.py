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


class OrderedVoxels(NamedTuple):
    """V voxels along the z curve, and K curves between them."""

    rows: Tensor  # int64 (V,), of the voxels given
    coords: Tensor  # int64 (V, 4), in this order
    orders: Tensor  # int32 (K, V), rows of ``coords`` along each curve
    inverses: Tensor  # int32 (K, V), each row's place on the curve


def ordered_voxels(coords: Tensor, depths: Sequence[int], curves: Sequence[str]) -> OrderedVoxels:
    """Sort voxels cloud by cloud along the z curve, and serialize them along others; on a GPU in one call.

    Values are not checked: those that are out of range give meaningless orders, nothing worse.

    Args:
        coords: int64 (V, 4) of cloud, x, y, z, contiguous, from 0.
        depths: levels of the curves of each cloud, 1 to 16.
        curves: names out of ``CURVES``; there may be none.

    Raises:
        ValueError: wrong shape, dtype, layout, depth or name.
    """
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype != torch.int64 or not coords.is_contiguous():
        raise ValueError(
            f"coords must be contiguous int64 (V, 4), got {coords.dtype} {tuple(coords.shape)}, "
            f"strides {coords.stride()}"
        )
    if coords.is_cuda and compiled_for(coords):
        _check_names(curves)
        numbers = [CURVES.index(name) for name in curves]
        return OrderedVoxels(*torch.ops.sparseops.ordered_voxels(coords, depths, numbers))
    names = tuple(curves) if "z" in curves else ("z", *curves)
    columns = coords[:, 1:].contiguous(), coords[:, 0].contiguous()
    found = serialize(*columns, depths, len(depths), names, check=False)
    z, first = names.index("z"), len(names) - len(curves)
    rows = found.orders[z]
    orders = found.inverses[z].int().index_select(0, found.orders[first:].flatten()).view(len(curves), len(rows))
    inverses = found.inverses[first:].index_select(1, rows).int()
    return OrderedVoxels(rows, coords.index_select(0, rows), orders, inverses)


def serialization_depth(grid_coord: Tensor) -> int:
    """Bits of the largest coordinate plus one, PTv3's depth of a cloud; 1 for no points. Reads the device.

    Args:
        grid_coord: int32 or int64, of any shape, from 0.

    Raises:
        ValueError: another dtype, or a meta tensor.
    """
    _check_integers(grid_coord)
    need_values("grid_coord", grid_coord)
    return max(int(grid_coord.max()) + 1, 1).bit_length() if grid_coord.numel() else 1


def serialize(
    grid_coord: Tensor,
    batch: Tensor | None = None,
    depth: int | Sequence[int] | Tensor | None = None,
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
        depth: levels of the curves, 1 to 16. Numbers, or an int64 tensor (num_clouds,), give each cloud its own depth,
            so that a cloud is ordered as it would be alone; the clouds' indices then stand above the deepest one's
            bits. None: ``serialization_depth(grid_coord)``.
        num_clouds: clouds in ``batch``; None: as many as its largest index asks for.
        curves: names out of ``CURVES``.
        check: whether values are checked too; under torch.compile they never are. A GPU is then read once. Checked or
            not, it is read where depth is None or a tensor, whose largest is needed, and where num_clouds is None
            beside a batch; torch.compile breaks its graph there. Unchecked values out of range give meaningless codes,
            nothing worse.

    Raises:
        ValueError: wrong shape, dtype, device or name; coordinates or batch indices out of range; codes that would
            need more than 63 bits.
    """
    _check_points(grid_coord, batch, num_clouds, curves)
    num_clouds, depth, depths = _settled(grid_coord, batch, num_clouds, depth, check)
    num_bits = 3 * depth + (num_clouds - 1).bit_length()
    operators = torch.ops.sparseops if compiled_for(grid_coord) else reference
    codes = operators.serialization_codes(grid_coord, batch, depths, depth, [CURVES.index(name) for name in curves])
    orders, inverses = operators.sort_codes(codes, num_bits)
    return Serialization(codes, orders, inverses, num_bits)


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


def _settled(
    grid_coord: Tensor,
    batch: Tensor | None,
    num_clouds: int | None,
    depth: int | Sequence[int] | Tensor | None,
    check: bool,
) -> tuple[int, int, Tensor | None]:
    """Clouds, the greatest depth, and int64 (N,) that of each point where they differ. Reads all it needs at once."""
    check = check and can_be_read(grid_coord)
    own, greatest = None, depth if isinstance(depth, int) else None
    if isinstance(depth, Tensor):
        _check_vector("depth", depth, num_clouds or depth.numel(), grid_coord)
        own = depth
    elif isinstance(depth, Sequence):
        if not depth or num_clouds not in (None, len(depth)):
            raise ValueError(f"depth must be a number for each of {num_clouds or 1} clouds, got {len(depth)}")
        num_clouds, greatest = len(depth), max(depth)
        _check_depth(min(depth))
        if min(depth) < greatest:
            own = torch.tensor(depth, dtype=torch.int64).to(grid_coord.device, non_blocking=True)
    depths = None
    if own is not None:
        depths = own if batch is None else own[batch.clamp(0, len(own) - 1)]
        depths = depths.expand(len(grid_coord)).contiguous()

    wanted: dict[str, Tensor] = {}
    if batch is not None and (check or num_clouds is None):
        wanted["batch"] = batch
    if isinstance(depth, Tensor):
        wanted["depth"] = depth
    if check or depth is None:
        wanted["grid_coord"] = grid_coord
    if check and depths is not None:
        wanted["beyond"] = grid_coord >> depths[:, None]
    read = _bounds(wanted)

    num_clouds = num_clouds or max(read["batch"][1] + 1, 1) if batch is not None else 1
    if check and "batch" in read and len(grid_coord):
        lowest, highest = read["batch"]
        if lowest < 0 or highest >= num_clouds:
            raise ValueError(f"batch must lie in [0, {num_clouds}), got {lowest} to {highest}")
    if isinstance(depth, Tensor):
        _check_vector("depth", depth, num_clouds, grid_coord)
        lowest, greatest = read["depth"]
        _check_depth(lowest)
    elif greatest is None:
        greatest = max(read["grid_coord"][1] + 1, 1).bit_length()
    _check_depth(greatest)
    num_bits = 3 * greatest + (num_clouds - 1).bit_length()
    if num_bits > 63:
        raise ValueError(
            f"codes of depth {greatest} for {num_clouds} clouds need {num_bits} bits, 63 are there; "
            "use a larger grid size or fewer clouds at once"
        )
    if check and len(grid_coord):
        lowest, highest = read["grid_coord"]
        if lowest < 0 or highest >> greatest:
            raise ValueError(
                f"grid_coord must lie in [0, 2**{greatest}) at depth {greatest}, got {lowest} to {highest}; "
                "subtract the minimum, use a larger grid size or a greater depth"
            )
        if read.get("beyond", (0, 0)) != (0, 0):
            raise ValueError("grid_coord must lie in [0, 2**depth) of each point's cloud; one lies outside its own")
    return num_clouds, greatest, depths


def _bounds(tensors: dict[str, Tensor]) -> dict[str, tuple[int, int]]:
    """The lowest and highest value of each tensor, read at once; (0, -1) of an empty one."""
    for name, tensor in tensors.items():
        need_values(name, tensor)
    found = dict.fromkeys(tensors, (0, -1))
    parts = {name: tensor.aminmax() for name, tensor in tensors.items() if tensor.numel()}
    if parts:
        read = torch.stack([bound.long() for pair in parts.values() for bound in pair]).tolist()
        found |= dict(zip(parts, zip(read[::2], read[1::2], strict=True), strict=True))
    return found


def _check_points(grid_coord: Tensor, batch: Tensor | None, num_clouds: int | None, curves: Sequence[str]) -> None:
    """Raises ValueError for what can be told without values."""
    _check_names(curves)
    if grid_coord.ndim != 2 or grid_coord.shape[1] != 3:
        raise ValueError(f"grid_coord must be (N, 3), got {tuple(grid_coord.shape)}")
    _check_integers(grid_coord)
    if not grid_coord.is_contiguous():
        raise ValueError(f"grid_coord must be contiguous, got strides {grid_coord.stride()}")
    if len(grid_coord) >= 1 << 31:
        raise ValueError(f"at most 2**31 - 1 points can be ordered, got {len(grid_coord)}")
    if batch is not None:
        _check_vector("batch", batch, len(grid_coord), grid_coord)
    elif num_clouds not in (None, 1):
        raise ValueError(f"num_clouds is {num_clouds} without a batch")
    if num_clouds is not None and num_clouds < 1:
        raise ValueError(f"num_clouds must be at least 1, got {num_clouds}")


def _check_names(curves: Sequence[str]) -> None:
    for name in curves:
        if name not in CURVES:
            raise ValueError(f"curves must be out of {', '.join(CURVES)}, got {name!r}")


def _check_depth(depth: int) -> None:
    if not 1 <= depth <= MAX_DEPTH:
        raise ValueError(
            f"depth must be 1 to {MAX_DEPTH}, got {depth}: coordinates must stay below 2**{MAX_DEPTH}; "
            "use a larger grid size or remove far outliers"
        )


def _check_integers(grid_coord: Tensor) -> None:
    if grid_coord.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"grid_coord must be int32 or int64, got {grid_coord.dtype}")


def _check_vector(name: str, vector: Tensor, length: int, beside: Tensor) -> None:
    if vector.dtype != torch.int64 or tuple(vector.shape) != (length,) or not vector.is_contiguous():
        raise ValueError(f"{name} must be contiguous int64 ({length},), got {vector.dtype} {tuple(vector.shape)}")
    if vector.device != beside.device:
        raise ValueError(f"{name} must be on {beside.device} with grid_coord, got {vector.device}")
