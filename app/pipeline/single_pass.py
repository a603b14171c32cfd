"""One pass over prepared voxels: the network's outputs, tile by tile if there are many, joined to predictions."""

from dataclasses import replace

import numpy as np

from app.clouds.fields import FEATURES, INSTANCES, Source

from . import tiling
from .inference import Inference
from .predictions import Predictions
from .prepare import Prepared
from .run_context import RunContext


def predict(inference: Inference, prepared: Prepared, source: Source, tile_voxels: int, run: RunContext) -> Predictions:
    """The predictions of the voxels, in tiles of about ``tile_voxels``.

    With ``source`` FEATURES they have features, with INSTANCES instances, which are grouped once tiles are joined.
    """
    joined = _join(inference, prepared, source, tile_voxels, run)
    probabilities, beside = np.split(joined, [inference.num_classes], axis=1)
    predictions = Predictions.of_probabilities(np.ascontiguousarray(probabilities))
    if source == FEATURES:
        return replace(predictions, features=beside)
    if source == INSTANCES:
        with run.stage("instances"):
            found = inference.instances(predictions.probabilities, prepared.coord + beside)
        return replace(predictions, instances=found)
    return predictions


def _join(inference: Inference, prepared: Prepared, source: Source, tile_voxels: int, run: RunContext) -> np.ndarray:
    """float32 (V, W), the outputs of the tiles, each voxel's the mean of its tiles' by their weights."""
    joined = np.empty(0)
    weight = np.zeros((len(prepared.voxels), 1), np.float32)
    tiles = tiling.cut(prepared.grid_coord, tile_voxels)
    while True:
        with run.stage("plan"):
            tile = next(tiles, None)
            if tile is None:
                break
            grid_coord, coord, feat = (
                np.take(values, tile.rows, axis=0) for values in (prepared.grid_coord, prepared.coord, prepared.feat)
            )
        plan = inference.plan([(grid_coord - tile.origin, coord)], run)
        outputs = inference.outputs(source, feat, plan, run)
        with run.stage("project"):
            if not joined.size:
                joined = np.zeros((len(prepared.voxels), outputs.shape[1]), np.float32)
            share = tile.weights[:, None]
            joined[tile.rows] += outputs.cpu().numpy() * share
            weight[tile.rows] += share
    with run.stage("project"):
        joined /= weight
    return joined
