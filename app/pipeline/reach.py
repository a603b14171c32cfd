"""The receptive field of a model: how far around a place its answer depends on the cloud."""

import numpy as np

from .procedure import InferenceProcedure
from .tiling import HALO_VOXELS
from .transforms import TRANSFORMS


def halo_m(procedure: InferenceProcedure) -> float:
    """The radius of the receptive field in metres: points farther from a place change its answer little or not at all.

    The network looks around as far as the halo of a tile is wide, and each of the features that it reads there as far
    as the transform looks that makes it, farther by what those look whose results it reads. What looks at a number of
    nearest points counts as looking no farther.
    """
    looks, behind = [0.0], 0.0
    for transform in (*procedure.transform, *procedure.post_transform):
        kind = TRANSFORMS[transform["type"]]
        if kind.reach is not None:
            look = behind + kind.reach(**{key: value for key, value in transform.items() if key != "type"})
            looks.append(look)
            behind = look if kind.is_read else behind
    edge = float(np.max(procedure.grid_size))
    return (HALO_VOXELS * edge + max(looks)) * procedure.unit.metres
