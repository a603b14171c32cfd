"""One pass over prepared voxels: the network's outputs, tile by tile if there are many, joined to predictions."""

from dataclasses import replace

from torch import Tensor

from app.clouds.fields import FEATURES, INSTANCES, Source

from . import tiling
from .inference import Inference
from .predictions import Predictions
from .prepare import NetworkInput
from .run_context import RunContext


def predict(
    inference: Inference,
    prepared: NetworkInput,
    source: Source,
    tile_voxels: int,
    run: RunContext,
    *,
    with_energy: bool = False,
) -> Predictions:
    """The predictions of the voxels, in tiles of about ``tile_voxels``.

    With ``source`` FEATURES they have features, with INSTANCES instances, which are grouped once tiles are joined.
    """
    joined = inference.in_range(
        lambda inference: _join(inference, prepared, source, tile_voxels, run, with_energy), run
    )
    num_beside = joined.shape[1] - inference.num_classes - with_energy
    probabilities, beside, energy = joined.split([inference.num_classes, num_beside, int(with_energy)], 1)
    predictions = Predictions.of_probabilities(probabilities.contiguous())
    if with_energy:
        predictions = replace(predictions, energy=energy[:, 0])
    if source == FEATURES:
        return replace(predictions, features=beside)
    if source == INSTANCES:
        with run.stage("instances"):
            found = inference.instances(predictions.probabilities, prepared.coord + beside)
        return replace(predictions, instances=found)
    return predictions


def _join(
    inference: Inference, prepared: NetworkInput, source: Source, tile_voxels: int, run: RunContext, with_energy: bool
) -> Tensor:
    """float32 (V, W), the outputs of the tiles, each voxel's the mean of its tiles' by their weights."""
    joined = prepared.feat.new_empty(0)
    weight = prepared.feat.new_zeros((len(prepared), 1))
    with run.stage("plan"):
        tiles = tiling.cut(prepared.grid_coord, tile_voxels)
    for tile in tiles:
        with run.stage("plan"):
            grid_coord, coord, feat = (
                values.index_select(0, tile.rows) if tile.is_part else values
                for values in (prepared.grid_coord, prepared.coord, prepared.feat)
            )
        plan = inference.plan([(grid_coord - tile.origin, coord)], run)
        outputs = inference.outputs(source, feat, plan, run, with_energy=with_energy)
        if not tile.is_part:
            return outputs
        with run.stage("project"):
            if not len(joined):
                joined = outputs.new_zeros((len(prepared), outputs.shape[1]))
            share = tile.weights[:, None]
            joined.index_add_(0, tile.rows, outputs * share)
            weight.index_add_(0, tile.rows, share)
    with run.stage("project"):
        return joined.div_(weight)
