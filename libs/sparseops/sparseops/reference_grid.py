"""Points to the voxels of a grid in plain torch."""

import torch
from torch import Tensor

HASHES = ("fnv", "ravel")
CELL_LIMIT = 2.0**62
FNV_OFFSET, FNV_PRIME = 14695981039346656037 - (1 << 64), 1099511628211  # as int64, whose products wrap around
SIGN = -(1 << 63)


def grid_sample(
    coord: Tensor, grid_size: list[float], hash_number: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """grid_coord, lowest, order, offsets and inverse of ``grid.grid_sample``."""
    places = (coord.double() / torch.tensor(grid_size, dtype=torch.float64, device=coord.device)).floor()
    if not (places.abs() < CELL_LIMIT).all():
        raise ValueError("coord must be finite and within 2**62 cells of the origin")
    cells = places.long()
    lowest = cells.amin(0)
    grid_coord = cells - lowest
    keys, order = (grid_keys(grid_coord, HASHES[hash_number]) ^ SIGN).sort(stable=True)  # as unsigned numbers
    begins = torch.ones_like(keys, dtype=torch.bool)
    begins[1:] = keys[1:] != keys[:-1]
    inverse = torch.empty_like(order)
    inverse[order] = begins.cumsum(0) - 1
    offsets = torch.cat([begins.nonzero()[:, 0], order.new_tensor([len(order)])])
    return grid_coord, lowest, order, offsets, inverse


def grid_keys(grid_coord: Tensor, hash_type: str) -> Tensor:
    """The bits of the unsigned 64-bit keys, int64 (N,), of voxels from 0 on, int64 (N, 3).

    "fnv": multiply by the prime and xor a coordinate, for each axis. "ravel": place in the box around all voxels, the
    last axis running fastest. Both wrap around at 2**64.
    """
    x, y, z = grid_coord.unbind(1)
    if hash_type == "ravel":
        height, depth = (axis.amax() + 1 for axis in (y, z))
        return (x * height + y) * depth + z
    keys = torch.full_like(x, FNV_OFFSET)
    for axis in (x, y, z):
        keys = (keys * FNV_PRIME) ^ axis
    return keys
