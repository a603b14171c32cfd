"""Pooled scores of a network on labelled tiles, through the same steps as the service.

    PYTHONPATH=.:libs/sparseops:libs/pointops python training/aerial/score.py --data FOLDER [--model FOLDER]

FOLDER is that of train.py. Prints as a table in Markdown what a training scores at its end: val and the ends of the
power lines, as they are, sparse, without return numbers, and with noise strewn among them.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from augment import forget_returns, thin
from noise import strew
from tiles import NOISE, NUM_CLASSES, WIRE, Tile, parts
from torch import nn

from app.confusion import Confusion, pooled
from app.evaluate.markdown import table
from app.evaluate.tables import Table, ratio
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from app.pipeline.sample import take
from app.pipeline.transforms import apply
from app.pipeline.voxelize import voxelize
from app.zoo import checkpoint
from app.zoo.config import evaluate
from app.zoo.experiment import find

NAMES = tuple(map(str, range(NUM_CLASSES)))
MERGED = (0, 1, 1, 2, 3, 4)  # by class, with low, medium and high vegetation as one
NUM_SCORED = 3  # of these: ground, vegetation, building


def loaded(folder: Path, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network of an experiment folder, and how its config has tiles prepared."""
    config = evaluate(folder / "config.py")
    network = build(config["model"])
    network.load_state_dict(checkpoint.read(folder / "model" / "model_best.pth"))
    return network.to(device).eval(), config["data"]["test"]


@torch.inference_mode()
def predict(network: nn.Module, test: dict[str, Any], tile: Tile, device: str) -> np.ndarray:
    """Labels int64 (N,) of one tile: one pass, the first point of a voxel speaks for it; what is left out is noise."""
    config = test["test_cfg"]
    given = {name: values.to(device) for name, values in tile.sample().items()}
    sample = apply(test["transform"], given)
    rows_of, is_left_out = (sample.pop(name, None) for name in ("inverse", "noise"))
    voxels = voxelize(sample["coord"], config["voxelize"]["grid_size"])
    rows = voxels.first_points()
    grid = voxels.grid_coord[rows]
    sample = apply(config["post_transform"], take(sample, rows) | {"grid_coord": grid})
    coords = torch.cat([grid.new_zeros(len(grid), 1), grid], 1)
    logits = network(sample["feat"], network.plan(VoxelBatch(coords)))
    labels = logits.argmax(1)[voxels.inverse]
    if is_left_out is not None:
        labels = labels[rows_of].masked_fill_(is_left_out, NOISE)
    return labels.cpu().numpy()


def merged_iou(found: Confusion) -> np.ndarray:
    """IoU (3,) of ground, vegetation and building, NaN where no label is of it."""
    return found.grouped(NAMES[:-1], MERGED).iou[:NUM_SCORED]


def report(
    network: nn.Module, test: dict[str, Any], tiles: list[Tile], device: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pooled and per-tile scores, one variant after the other: as they are, sparse, without return numbers, noisy."""
    rng = np.random.default_rng(0)
    variants: dict[str, Callable[[Tile], Tile]] = {
        "as is": lambda tile: tile,
        "1 point per m2": lambda tile: thin(tile, 1.0, rng),
        "no returns": forget_returns,
        "0.5 % noise": lambda tile: strew(tile, 0.005, rng),
        "2 % noise": lambda tile: strew(tile, 0.02, rng),
        "5 % noise": lambda tile: strew(tile, 0.05, rng),
    }
    for name, change in variants.items():
        variant = [change(tile) for tile in tiles]
        found = [predict(network, test, tile, device) for tile in variant]
        each = {
            tile.name: Confusion.of_rows(NAMES, tile.label, labels) for tile, labels in zip(variant, found, strict=True)
        }
        whole = pooled([*each.values()])
        num_real = [min(len(one), len(tile)) for one, tile in zip(variant, tiles, strict=True)]
        yield (
            name,
            {
                "classes": whole.iou.round(4).tolist(),
                "merged": merged_iou(whole).round(4).tolist(),
                "miou": round(float(merged_iou(whole).mean()), 4),
                "confusion": whole.counts[:, :-1].tolist(),
                "noise": noise_scores(variant, found, num_real),
                "tiles": {tile: merged_iou(one).round(3).tolist() for tile, one in each.items()},
            },
        )


def noise_scores(tiles: list[Tile], found: list[np.ndarray], num_real: list[int]) -> dict[str, float]:
    """Precision and recall of the class noise, and the share of real points that are called so.

    The first ``num_real`` points of a tile are real; of those strewn among them some are too near to be told.
    """
    is_real = np.concatenate([np.arange(len(tile)) < real for tile, real in zip(tiles, num_real, strict=True)])
    is_noise = np.concatenate([tile.label for tile in tiles]) == NOISE
    called = np.concatenate(found) == NOISE
    hit, lost = (called & is_noise).sum(), (called & is_real & ~is_noise).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": round(float(hit / (hit + lost)), 4),
            "recall": round(float(hit / is_noise.sum()), 4),
            "lost": round(float(lost / is_real.sum()), 7),
        }


HEADER = ["tiles", "input", "ground", "vegetation", "building", "mean", "wire", "noise found", "of it noise", "lost"]
WORDS = (
    "IoU, pooled over the points of all tiles, vegetation as one class; of the noise strewn in, the share that is "
    "called so; of what is called so, the share that is; of other points, how many in 10,000 are called so."
)


def main() -> None:
    """Score an experiment and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="", help="experiment folder; the bundled model without it")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, test = loaded(find(given.model)[0], device)
    rows = []
    for part, tiles in parts(given.data)[1].items():
        for variant, score in report(network, test, tiles, device):
            noise = score["noise"]
            precision = noise["precision"] if noise["recall"] > 0 else np.nan
            scores = [*score["merged"], score["miou"], score["classes"][WIRE], noise["recall"], precision]
            rows.append([part, variant, *map(ratio, scores), f"{1e4 * noise['lost']:.1f}"])
    print(table(Table("By input", HEADER, rows, WORDS)))


if __name__ == "__main__":
    main()
