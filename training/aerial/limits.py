"""What the labels allow: how well low vegetation can be told from ground by height, and what one label a voxel costs.

    PYTHONPATH=.:libs/sparseops:libs/pointops python training/aerial/limits.py --data FOLDER/val

Prints a table in Markdown, a row a tile with low vegetation: the IoU of low vegetation and ground if all points of a
voxel get the label that most of them have; and of low vegetation, among itself and ground, if it is what lies higher
than the best limit over the true ground, of which every other point is left out to be judged.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from score import NAMES
from tiles import NUM_CLASSES, Tile, read_folder

from app.confusion import Confusion
from app.evaluate.markdown import table
from app.evaluate.tables import Table, ratio

VOXEL_M = 0.5
LIMITS_M = np.arange(0.02, 0.5, 0.02)
HEADER = ["tile", "points per m²", "low vegetation by voxel", "ground by voxel", "by height", "best limit, m"]
WORDS = f"IoU of labels that are as right as voxels of {VOXEL_M} m, or a limit over the true ground, allow."


def by_voxel(tile: Tile) -> Confusion:
    """Labels against those that most labelled points of their voxel have."""
    cells, voxel = np.unique(np.floor(tile.xyz / VOXEL_M).astype(np.int64), axis=0, return_inverse=True)
    voxel = voxel.reshape(-1)
    counts = np.zeros((len(cells), NUM_CLASSES), np.int64)
    is_known = tile.label >= 0
    np.add.at(counts, (voxel[is_known], tile.label[is_known]), 1)
    return Confusion.of_rows(NAMES, tile.label, counts.argmax(1)[voxel])


def by_height(tile: Tile) -> tuple[float, float]:
    """IoU of low vegetation among itself and ground by the best limit, and that limit in metres."""
    ground, low = (np.flatnonzero(tile.label == number) for number in (0, 1))
    terrain = LinearNDInterpolator(tile.xyz[ground[::2], :2], tile.xyz[ground[::2], 2])
    low_m, ground_m = (tile.xyz[rows, 2] - terrain(tile.xyz[rows, :2]) for rows in (low, ground[1::2]))
    low_m, ground_m = (heights[np.isfinite(heights)] for heights in (low_m, ground_m))
    # each judged point of the ground stands for one that was left out of the judgement, too
    iou = [(low_m > limit).sum() / (len(low_m) + 2 * (ground_m > limit).sum()) for limit in LIMITS_M]
    best = int(np.argmax(iou))
    return float(iou[best]), float(LIMITS_M[best])


def main() -> None:
    """Print the table of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    rows = []
    for tile in read_folder(parser.parse_args().data):
        if (tile.label == 1).any():
            ground, low = by_voxel(tile).iou[:2]
            best, limit_m = by_height(tile)
            rows.append([tile.name, f"{tile.density_per_m2:.2g}", *map(ratio, (low, ground, best)), f"{limit_m:.2f}"])
    print(table(Table("What labels allow", HEADER, rows, WORDS)))


if __name__ == "__main__":
    main()
