"""Pooled scores of a network on labelled tiles, through the same steps as the service."""

from typing import Any

import numpy as np
import torch
from augment import forget_returns, thin
from tiles import Tile
from torch import nn

from app.confusion import Confusion
from app.networks.voxel_batch import VoxelBatch
from app.pipeline.sample import take
from app.pipeline.transforms import apply
from app.pipeline.voxelize import voxelize

MERGED = np.array([0, 1, 1, 2])  # ground, vegetation, building


@torch.inference_mode()
def predict(network: nn.Module, test: dict[str, Any], tile: Tile, device: str) -> np.ndarray:
    """Labels int64 (N,) of one tile: one pass, the first point of a voxel speaks for it."""
    config = test["test_cfg"]
    given = {name: values.to(device) for name, values in tile.sample().items()}
    sample = apply(test["transform"], given)
    voxels = voxelize(sample["coord"], config["voxelize"]["grid_size"])
    rows = voxels.first_points()
    grid = voxels.grid_coord[rows]
    sample = apply(config["post_transform"], take(sample, rows) | {"grid_coord": grid})
    coords = torch.cat([grid.new_zeros(len(grid), 1), grid], 1)
    logits = network(sample["feat"], network.plan(VoxelBatch(coords)))
    return logits.argmax(1)[voxels.inverse].cpu().numpy()


def names(num_classes: int) -> tuple[str, ...]:
    """Of classes that are told by their number."""
    return tuple(map(str, range(num_classes)))


def confusion(label: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (num_classes, num_classes), true class by row, without ignored points."""
    return Confusion.of_rows(names(num_classes), label, predicted).counts[:, :-1]


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, NaN where no label is of it."""
    return Confusion(names(len(counts)), np.pad(counts, ((0, 0), (0, 1)))).iou


def merge(counts: np.ndarray) -> np.ndarray:
    """The confusion matrix with low, medium and high vegetation as one."""
    gather = np.eye(3, dtype=np.int64)[MERGED]
    return gather.T @ counts @ gather


def report(network: nn.Module, test: dict[str, Any], tiles: list[Tile], device: str) -> dict[str, Any]:
    """Pooled and per-tile scores, as they are, thinned to a sparse survey, and without return numbers."""
    rng = np.random.default_rng(0)
    variants = {
        "as is": tiles,
        "1 point per m2": [thin(tile, 1.0, rng) for tile in tiles],
        "no returns": [forget_returns(tile) for tile in tiles],
    }
    scores: dict[str, Any] = {}
    for name, variant in variants.items():
        each = {tile.name: confusion(tile.label, predict(network, test, tile, device), 4) for tile in variant}
        pooled = sum(each.values())
        scores[name] = {
            "classes": iou(pooled).round(4).tolist(),
            "merged": iou(merge(pooled)).round(4).tolist(),
            "miou": round(float(iou(merge(pooled)).mean()), 4),
            "tiles": {tile: iou(merge(counts)).round(3).tolist() for tile, counts in each.items()},
        }
    return scores
