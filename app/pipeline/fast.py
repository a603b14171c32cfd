"""``mode=fast``: one pass over the voxels, tile by tile where they are many."""

import numpy as np

from . import tiling
from .inference import Inference
from .opinion import Opinion
from .prepare import Prepared
from .run import Run


def probabilities(inference: Inference, prepared: Prepared, tile_voxels: int, run: Run) -> np.ndarray:
    """float32 (V, num_classes), joined from tiles of about ``tile_voxels``."""
    joined = np.zeros((len(prepared.voxels), inference.num_classes), np.float32)
    weight = np.zeros((len(prepared.voxels), 1), np.float32)
    for tile in tiling.cut(prepared.grid_coord, tile_voxels):
        plan = inference.plan([(prepared.grid_coord[tile.rows] - tile.origin, prepared.coord[tile.rows])], run)
        logits = inference.logits(prepared.feat[tile.rows], plan, run)
        with run.stage("project"):
            share = tile.weights[:, None]
            joined[tile.rows] += logits.softmax(1).cpu().numpy() * share
            weight[tile.rows] += share
    joined /= weight
    return joined


def opinion(prepared: Prepared, probabilities: np.ndarray) -> Opinion:
    """A voxel's ``probabilities`` (V, num_classes) for all its points."""
    of_point = np.where(prepared.stand_in < 0, -1, prepared.voxels.inverse[prepared.stand_in])
    return Opinion(prepared.rows, of_point, probabilities.argmax(1), probabilities)
