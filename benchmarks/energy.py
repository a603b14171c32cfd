"""``python -m benchmarks.energy TILE...``: what the field ``energy`` of the bundled model tells apart.

Points of the aerial TILEs are compared with those of clouds that such a model is not for. Printed are the share of
pairs in which the stranger has the higher energy (AUROC, 0.5 for chance), the same for the confidence, and how many
strangers have more energy than 95 % of the points of the tiles.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.options import Options
from app.zoo.experiment import find
from app.zoo.loading import load_model
from benchmarks.scenes import room, sweep
from benchmarks.table import Table

NUM_POINTS = 100_000
FIELDS = ("energy", "confidence")
QUANTILES = (0.5, 0.95, 0.99)


def strangers() -> dict[str, np.ndarray]:
    """Clouds of another kind, (N, 3) in metres, by name."""
    rng = np.random.default_rng(0)
    return {
        "the inside of a room": room(NUM_POINTS, rng).double().numpy(),
        "a sweep of a lidar on a car": sweep(NUM_POINTS, rng).double().numpy(),
        "noise, evenly in 100 × 100 × 30 m": rng.uniform(0, 1, (NUM_POINTS, 3)) * (100, 100, 30),
    }


def auroc(known: np.ndarray, strange: np.ndarray) -> float:
    """The share of pairs in which ``strange`` is greater than ``known``; half of those that are equal count."""
    ranks = rankdata(np.concatenate([known, strange]))[len(known) :]
    return float((ranks.mean() - (len(strange) + 1) / 2) / len(known))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", nargs="+", type=Path)
    segmenter = load_model(find("")[0]).segmenter("cpu")

    def fields(cloud: Cloud) -> dict[str, np.ndarray]:
        return segmenter.segment(cloud, Options(fields=FIELDS)).fields

    tiles = {path.name: fields(formats.read(memoryview(path.read_bytes()))) for path in parser.parse_args().tiles}
    known = {name: np.concatenate([each[name] for each in tiles.values()]) for name in FIELDS}
    levels = {name: np.quantile(each["energy"], QUANTILES) for name, each in (*tiles.items(), ("all", known))}
    rows = [[name, *(f"{level:.2f}" for level in found)] for name, found in levels.items()]
    print(Table("Energy of tiles, by share of points below", [["tile", *map(str, QUANTILES)], *rows]))
    rows = [["cloud", "AUROC of energy", "of 1 - confidence", "above 95 % of the tiles"]]
    for name, xyz in strangers().items():
        found = fields(Cloud(xyz, "npy"))
        by_energy, by_doubt = auroc(known["energy"], found["energy"]), auroc(-known["confidence"], -found["confidence"])
        share = (found["energy"] > levels["all"][1]).mean()
        rows.append([name, f"{by_energy:.3f}", f"{by_doubt:.3f}", f"{share:.1%}"])
    print(Table("Strangers", rows))


if __name__ == "__main__":
    main()
