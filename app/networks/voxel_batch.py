"""The batch of voxels that a network plans for."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class VoxelBatch:
    """The voxels of one cloud or of several.

    Attributes:
        voxels: int64 (V, 4): number of the cloud, ascending, then x, y, z from 0.
        coord: float32 (V, 3), positions of the voxels' points as the model's transforms leave them; None if only
            voxels are at hand.
        joint: whether serialization depth, spatial shape and patch size are those of the whole batch, as upstream takes
            them; if not, each cloud has its own, and its answer is identical alone and beside others.
        condition: the dataset whose norms and classes a network with several is to use.
        shuffles: int64 (levels, K), permutations of the K serialization orders that upstream drew, if any.
    """

    voxels: Tensor
    coord: Tensor | None = None
    joint: bool = False
    condition: str | None = None
    shuffles: Tensor | None = None
