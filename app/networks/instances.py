"""The instances that a network finds among voxels."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Instances:
    """I instances among V voxels. All tensors are on the CPU.

    Attributes:
        of_voxel: int32 (V,), the number of each voxel's instance, from 0 in each cloud's order; -1 for none.
        classes: int64 (I,), column of the probabilities.
        scores: float32 (I,), mean probability of the class over the instance's voxels.
    """

    of_voxel: Tensor
    classes: Tensor
    scores: Tensor
