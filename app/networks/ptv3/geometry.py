"""The geometry of serialized attention: levels of voxels, their orders and patches, the steps between levels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from sparseops import KernelMap, patch_padding, segment_reduce, serialize, sort_codes, submanifold_map
from torch import Tensor

from app.errors import BadCloud
from app.networks.voxel_batch import VoxelBatch

MAX_DEPTH = 16


@dataclass(frozen=True)
class Order:
    """A level's voxels along K curves.

    Attributes:
        codes: int64 (K, V), a voxel's place on each curve in the low 3 * max(depths) bits, under its cloud's number.
        orders: int64 (K, V), rows along each curve.
        inverses: int64 (K, V), each row's place on the curve.
        depths: bits of a coordinate, of every cloud.
    """

    codes: Tensor
    orders: Tensor
    inverses: Tensor
    depths: tuple[int, ...]

    def permuted(self, permutation: Tensor) -> "Order":
        """The curves in another order, int64 (K,)."""
        permutation = permutation.to(self.codes.device)
        return Order(self.codes[permutation], self.orders[permutation], self.inverses[permutation], self.depths)


@dataclass(frozen=True)
class Patches:
    """The patches of one level along one curve.

    Attributes:
        gather: int64 (T,), the row that stands at each place of the padded order.
        scatter: int64 (V,), the place of each row.
        cu_seqlens: int32 (P + 1,), begins and ends of patches.
        voxels: int64 (T, 3), coordinates of the gathered rows.
        coord: float32 (T, 3), their positions; None if the level has none.
    """

    gather: Tensor
    scatter: Tensor
    cu_seqlens: Tensor
    voxels: Tensor
    coord: Tensor | None

    @cached_property
    def into(self) -> KernelMap:
        """From rows to the places of the padded order."""
        return KernelMap(self.gather.int()[None], self.scatter.int()[None])

    @cached_property
    def out_of(self) -> KernelMap:
        """From the places of the padded order to rows."""
        return self.into.inverse()


@dataclass(frozen=True)
class SortedVoxels:
    """The voxels of a level, such that those of a coarser voxel, with edges of a power of 2, are consecutive.

    Attributes:
        coords: int64 (V, 4), number of the cloud, x, y, z.
        ends: the end of each cloud.
        coord: float32 (V, 3), positions; None if no network asks for them.
    """

    coords: Tensor
    ends: tuple[int, ...]
    coord: Tensor | None = None


@dataclass(frozen=True)
class Coarsening:
    """From a level to the next coarser one.

    ``parent`` int64 (V,) is the coarser row of every row, ``starts`` int64 (W + 1,) the rows of each coarser one.
    """

    parent: Tensor
    starts: Tensor


@dataclass(frozen=True)
class SerializedLevel:
    """A resolution: its voxels, the 3³ kernel map and the patches along the curves that blocks use, by their index."""

    voxels: SortedVoxels
    kernel_map: KernelMap
    patches: dict[int, Patches]


def sorted_voxels(batch: VoxelBatch, positions: bool = False) -> tuple[Tensor, SortedVoxels]:
    """The rows of ``batch`` cloud by cloud along the z curve, int64 (V,), and its voxels in that order.

    ``positions`` says whether voxels keep those of the batch; a coarser voxel then has the mean of its voxels'.
    """
    coords = batch.voxels
    ends = tuple(coords[:, 0].bincount().cumsum(0).tolist())
    depths = cloud_depths(coords, len(ends), joint=False)
    rows = serialize(*_columns(coords), coords.new_tensor(depths), len(ends), ("z",)).orders[0]
    coord = batch.coord[rows] if positions and batch.coord is not None else None
    return rows, SortedVoxels(coords[rows], ends, coord)


def cloud_depths(coords: Tensor, num_clouds: int, joint: bool) -> tuple[int, ...]:
    """Bits of the largest coordinate plus one of every cloud, or of all clouds if ``joint``.

    Raises BadCloud if a coordinate is too large to be ordered.
    """
    largest = coords.new_zeros(num_clouds).scatter_reduce_(0, coords[:, 0], coords[:, 1:].amax(1), "amax")
    depths = [(largest + 1).bit_length() for largest in largest.tolist()]
    if max(depths) > MAX_DEPTH:
        raise BadCloud(
            f"The cloud spans more than {(1 << MAX_DEPTH) - 1} voxels along an axis, too many for this network; it "
            "expects metres: check the unit, or cut the cloud."
        )
    return tuple([max(depths)] * num_clouds if joint else depths)


def order_along(curves: Sequence[str], voxels: SortedVoxels, joint: bool) -> Order:
    """The order of a level's voxels, at each cloud's own depth or at that of them all."""
    depths = cloud_depths(voxels.coords, len(voxels.ends), joint)
    found = serialize(*_columns(voxels.coords), voxels.coords.new_tensor(depths), len(depths), curves)
    return Order(found.codes, found.orders, found.inverses, depths)


def coarsen(voxels: SortedVoxels, shifts: Sequence[int]) -> tuple[SortedVoxels, Coarsening, Tensor]:
    """Voxels of 2**shift a side, a shift for every cloud; the step there; the first row of each, int64 (W,)."""
    coords = voxels.coords.clone()
    coords[:, 1:] >>= coords.new_tensor(shifts)[coords[:, :1]]
    is_first = torch.ones(len(coords), dtype=torch.bool, device=coords.device)
    is_first[1:] = (coords[1:] != coords[:-1]).any(1)
    first = is_first.nonzero().squeeze(1)
    parent = is_first.cumsum(0) - 1
    starts = torch.cat([first, first.new_full((1,), len(coords))])
    ends = tuple((parent[torch.tensor(voxels.ends, device=parent.device) - 1] + 1).tolist())
    coord = None if voxels.coord is None else segment_reduce(voxels.coord, starts, "mean")
    return SortedVoxels(coords[first], ends, coord), Coarsening(parent, starts), first


def coarsen_order(order: Order, clouds: Tensor, shifts: Sequence[int], first: Tensor) -> Order:
    """The order of coarser voxels by the codes that they share; ``clouds`` int64 (W,), ``first`` from ``coarsen``."""
    depths = tuple(depth - shift for depth, shift in zip(order.depths, shifts, strict=True))
    places = order.codes.index_select(1, first) & ((1 << 3 * max(order.depths)) - 1)
    codes = places >> 3 * clouds.new_tensor(shifts)[clouds] | clouds << 3 * max(depths)
    orders, inverses = sort_codes(codes, max(3 * max(depths) + (len(depths) - 1).bit_length(), 1))
    return Order(codes, orders, inverses, depths)


def make_level(
    voxels: SortedVoxels, order: Order, used: Iterable[int], patch_size: int, shared: bool
) -> SerializedLevel:
    """A level with patches along the ``used`` curves.

    ``shared`` cuts every cloud into patches of the size of the smallest cloud if that is below ``patch_size``, as
    upstream does without flash attention; otherwise such a cloud alone is one patch of its size.
    """
    ends = torch.tensor(voxels.ends)
    smallest = int(ends.diff(prepend=ends.new_zeros(1)).min())
    padding = patch_padding(ends, min(patch_size, smallest) if shared else patch_size, voxels.coords.device)
    patches = {}
    for index in sorted(set(used)):
        gather = order.orders[index][padding.pad]
        coord = None if voxels.coord is None else voxels.coord[gather]
        scatter = padding.unpad[order.inverses[index]]
        patches[index] = Patches(gather, scatter, padding.cu_seqlens, voxels.coords[gather, 1:], coord)
    return SerializedLevel(voxels, submanifold_map(voxels.coords, 3), patches)


def _columns(coords: Tensor) -> tuple[Tensor, Tensor]:
    return coords[:, 1:].contiguous(), coords[:, 0].contiguous()
