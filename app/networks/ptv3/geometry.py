"""The geometry of serialized attention: levels of voxels, their orders and patches, the steps between levels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from sparseops import KernelMap, LevelPatches, cloud_extents, level_patches, ordered_voxels, serialize
from torch import Tensor

from app.errors import BadCloud
from app.networks.voxel_batch import VoxelBatch

MAX_DEPTH = 16


@dataclass(frozen=True)
class Order:
    """A level's voxels along K curves.

    Attributes:
        orders: int32 (K, V), rows along each curve.
        inverses: int32 (K, V), each row's place on the curve.
    """

    orders: Tensor
    inverses: Tensor

    def permuted(self, permutation: Tensor) -> "Order":
        """The curves in another order, int64 (K,)."""
        permutation = permutation.to(self.orders.device)
        return Order(self.orders[permutation], self.inverses[permutation])


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

    def smallest_cloud(self) -> int:
        """Voxels of the smallest cloud."""
        return min(end - begin for begin, end in pairwise((0, *self.ends)))


@dataclass(frozen=True)
class Patches:
    """The patches of one level along one curve.

    Attributes:
        into: from rows, V, to the places of the padded order, T.
        cu_seqlens: int32 (P + 1,), begins and ends of patches.
        level: the rows.
    """

    into: KernelMap
    cu_seqlens: Tensor
    level: SortedVoxels

    @property
    def out_of(self) -> KernelMap:
        """From the places of the padded order to rows."""
        return self.into.inverse()

    @cached_property
    def voxels(self) -> Tensor:
        """int64 (T, 3), coordinates of the voxel at each place."""
        return self.level.coords.index_select(0, self.into.forwards[0])[:, 1:]

    @cached_property
    def coord(self) -> Tensor | None:
        """float32 (T, 3), their positions; None if the level has none."""
        return None if self.level.coord is None else self.level.coord.index_select(0, self.into.forwards[0])


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


@dataclass(frozen=True)
class Clouds:
    """The clouds of a batch, as one reading of the device tells them.

    Attributes:
        ends: the end of each cloud.
        largest: the largest coordinate of each cloud.
        joint: whether all clouds have the depth of the largest.
    """

    ends: tuple[int, ...]
    largest: tuple[int, ...]
    joint: bool

    def depths(self, shifts: Sequence[int] = ()) -> tuple[int, ...]:
        """Bits of every cloud's largest coordinate plus one, of voxels whose edges were doubled ``shifts`` times."""
        coarse = map(int.__rshift__, self.largest, shifts) if shifts else self.largest
        depths = [(largest + 1).bit_length() for largest in coarse]
        return tuple([max(depths)] * len(depths) if self.joint else depths)


def clouds_of(batch: VoxelBatch) -> Clouds:
    """The clouds of ``batch``. Raises BadCloud if a coordinate is too large to be ordered."""
    counts, largest = cloud_extents(batch.voxels)
    clouds = Clouds(tuple(accumulate(counts)), largest, batch.joint)
    if max(clouds.depths()) > MAX_DEPTH:
        raise BadCloud(
            f"The cloud spans more than {(1 << MAX_DEPTH) - 1} voxels along an axis, too many for this network; it "
            "expects metres: check the unit, or cut the cloud."
        )
    return clouds


def sorted_voxels(
    batch: VoxelBatch, clouds: Clouds, curves: Sequence[str], positions: bool = False
) -> tuple[Tensor, SortedVoxels, Order]:
    """The rows of ``batch`` cloud by cloud along the z curve, int64 (V,), its voxels in that order, those along curves.

    ``positions`` says whether voxels keep those of the batch; a coarser voxel then has the mean of its voxels'.
    """
    rows, coords, *order = ordered_voxels(batch.voxels, clouds.depths(), curves)
    coord = batch.coord[rows] if positions and batch.coord is not None else None
    return rows, SortedVoxels(coords, clouds.ends, coord), Order(*order)


def order_along(curves: Sequence[str], coords: Tensor, depths: Sequence[int]) -> Order:
    """The order of voxels int64 (V, 4) along curves of every cloud's own depth."""
    columns = coords[:, 1:].contiguous(), coords[:, 0].contiguous()
    found = serialize(*columns, depths, len(depths), curves, check=False)
    return Order(found.orders.int(), found.inverses.int())


@dataclass(frozen=True)
class Cut:
    """How the voxels of a level are cut into patches: along the first ``num_used`` curves of ``order``.

    A cloud below ``patch_size`` is one patch of its size. Without flash attention upstream cuts all clouds by the size
    of the smallest one, if that is below; then it is that.
    """

    voxels: SortedVoxels
    order: Order
    num_used: int
    patch_size: int


def make_patches(cuts: Sequence[Cut]) -> list[dict[int, Patches]]:
    """The patches of several levels, by the index of the curve."""
    used = [cut for cut in cuts if cut.num_used]
    found = iter(
        level_patches(
            [cut.order.orders[: cut.num_used] for cut in used],
            [cut.order.inverses[: cut.num_used] for cut in used],
            [cut.voxels.ends for cut in used],
            [cut.patch_size for cut in used],
        )
    )
    return [_by_curve(next(found), cut.voxels) if cut.num_used else {} for cut in cuts]


def _by_curve(found: LevelPatches, voxels: SortedVoxels) -> dict[int, Patches]:
    curves = zip(found.gather.split(1), found.scatter.split(1), strict=True)
    return {index: Patches(KernelMap(*rows), found.cu_seqlens, voxels) for index, rows in enumerate(curves)}
