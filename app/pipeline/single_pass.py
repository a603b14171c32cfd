"""``mode=fast``: one pass over the voxels, tile by tile where they are many."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from . import tiling
from .inference import Inference
from .predictions import Predictions
from .prepare import Prepared
from .run_context import RunContext
from .tiling import Tile


def probabilities(inference: Inference, prepared: Prepared, tile_voxels: int, run: RunContext) -> np.ndarray:
    """float32 (V, num_classes), joined from tiles of about ``tile_voxels``."""

    def ask(feat: np.ndarray, plan: Any) -> Tensor:
        logits = inference.logits(feat, plan, run)
        with run.stage("network"):
            return logits.softmax(1)

    return _join(inference, prepared, tile_voxels, ask, run)


def predictions_with_features(
    inference: Inference, prepared: Prepared, tile_voxels: int, run: RunContext
) -> Predictions:
    """As ``predictions``, with the features of the voxels."""

    def ask(feat: np.ndarray, plan: Any) -> Tensor:
        return inference.described(feat, plan, run)

    joined = _join(inference, prepared, tile_voxels, ask, run)
    shares, features = np.split(joined, [inference.num_classes], axis=1)
    return replace(predictions(prepared, np.ascontiguousarray(shares)), features=features)


def predictions_with_instances(
    inference: Inference, prepared: Prepared, tile_voxels: int, run: RunContext
) -> Predictions:
    """As ``predictions``, with the instances among the voxels, which are told apart once their tiles are joined."""

    def ask(feat: np.ndarray, plan: Any) -> Tensor:
        return inference.votes(feat, plan, run)

    joined = _join(inference, prepared, tile_voxels, ask, run)
    shares = np.ascontiguousarray(joined[:, : inference.num_classes])
    with run.stage("instances"):
        found = inference.instances(shares, prepared.coord + joined[:, inference.num_classes :])
    return replace(predictions(prepared, shares), instances=found)


def _join(
    inference: Inference,
    prepared: Prepared,
    tile_voxels: int,
    ask: Callable[[np.ndarray, Any], Tensor],
    run: RunContext,
) -> np.ndarray:
    """float32 (V, W), what ``ask`` says of the features and the plan of each tile, W values a voxel."""
    joined = np.empty(0)
    weight = np.zeros((len(prepared.voxels), 1), np.float32)
    tiles = tiling.cut(prepared.grid_coord, tile_voxels)
    while (part := _next(tiles, prepared, run)) is not None:
        tile, grid_coord, coord, feat = part
        said = ask(feat, inference.plan([(grid_coord, coord)], run))
        with run.stage("project"):
            if not joined.size:
                joined = np.zeros((len(prepared.voxels), said.shape[1]), np.float32)
            share = tile.weights[:, None]
            joined[tile.rows] += said.cpu().numpy() * share
            weight[tile.rows] += share
    with run.stage("project"):
        joined /= weight
    return joined


def _next(
    tiles: Iterator[Tile], prepared: Prepared, run: RunContext
) -> tuple[Tile, np.ndarray, np.ndarray, np.ndarray] | None:
    """The next tile with voxels, positions and features of its rows; None after the last."""
    with run.stage("plan"):
        tile = next(tiles, None)
        if tile is None:
            return None
        grid_coord, coord, feat = (
            np.take(of_voxels, tile.rows, axis=0) for of_voxels in (prepared.grid_coord, prepared.coord, prepared.feat)
        )
        return tile, grid_coord - tile.origin, coord, feat


def predictions(prepared: Prepared, probabilities: np.ndarray) -> Predictions:
    """A voxel's ``probabilities`` (V, num_classes) for all its points."""
    of_point = np.where(prepared.stand_in < 0, -1, prepared.voxels.inverse[prepared.stand_in])
    has_classes = probabilities.shape[1] > 0
    best = probabilities.argmax(1) if has_classes else np.zeros(len(probabilities), np.int64)
    return Predictions(prepared.rows, of_point, best, probabilities)
