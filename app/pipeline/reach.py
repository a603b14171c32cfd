"""How far around a place the answer there depends on a cloud, by the procedure of a model."""

import numpy as np

from .procedure import InferenceProcedure
from .tiling import HALO_VOXELS
from .transforms import TRANSFORMS


def halo_m(procedure: InferenceProcedure) -> float:
    """Metres around a place beyond which the cloud does not matter for the answer there, or as good as not.

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
    edge = float(np.max(procedure.voxelize.get("grid_size", 0.05)))
    return (HALO_VOXELS * edge + max(looks)) * procedure.unit.metres
