"""How much lower a survey scores if no tile of it was in training: one training a survey, all at once.

    PYTHONPATH=.:libs/sparseops:libs/pointops python training/aerial/surveys.py --data FOLDER --out FOLDER --minutes 2

FOLDER is that of train.py. Each training begins from chance and leaves one survey out; they share the machine. Prints a
table in Markdown: the survey's tiles by the network that did not see it, and by the others. Where val has tiles of the
survey these are scored, so that the others have seen its neighbours only; else its training tiles.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from score import NAMES, loaded, merged_iou, predict
from tiles import Tile, read_folder

from app.confusion import Confusion, pooled
from app.evaluate.markdown import table
from app.evaluate.tables import Table, ratio

SURVEYS = {
    "Montpellier": ["montpellier"],
    "Brittany, Côtes-d'Armor": ["brittany", "cotes_armor"],
    "Delft": ["delft"],
    "Amsterdam": ["amsterdam"],
    "Florida, Sierra, Hawaii": ["us_"],
}
HEADER = ["survey left out", "tiles scored", "seen", "ground", "vegetation", "building"]
WORDS = "IoU, pooled over the points of a survey's tiles; of networks that have seen the survey the mean."


def scored(data: Path) -> dict[str, tuple[str, list[Tile]]]:
    """By survey: which tiles of it are scored, in words, and these."""
    found: dict[str, tuple[str, list[Tile]]] = {}
    for part in ("train", "val"):  # the latter takes the place of the former
        tiles = read_folder(data / part)
        for survey, words in SURVEYS.items():
            own = [tile for tile in tiles if any(word in tile.name for word in words)]
            if own:
                found[survey] = (f"{len(own)} of {part}", own)
    return found


def main() -> None:
    """Train all, then score each survey by every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=15, help="of all trainings together")
    given = parser.parse_args()
    folders = {survey: given.out / str(number) for number, survey in enumerate(SURVEYS)}
    trainings = []
    for survey, folder in folders.items():
        sizes = ["--crops", "8", "--workers", str(given.workers // len(folders)), "--minutes", str(given.minutes)]
        options = ["--data", given.data, "--out", folder, *sizes, "--unscored", "--without", *SURVEYS[survey]]
        trainings.append(subprocess.Popen([sys.executable, Path(__file__).parent / "train.py", *options]))
    codes = [training.wait() for training in trainings]
    if any(codes):
        raise SystemExit(f"trainings ended with {codes}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = {survey: loaded(folder, device) for survey, folder in folders.items()}
    rows = []
    for survey, (which, tiles) in scored(given.data).items():
        iou = {}
        for left_out, (network, test) in networks.items():
            found = [Confusion.of_rows(NAMES, tile.label, predict(network, test, tile, device)) for tile in tiles]
            iou[left_out] = merged_iou(pooled(found))
        seen = np.mean([each for left_out, each in iou.items() if left_out != survey], 0)
        rows += [[survey, which, "no", *map(ratio, iou[survey])], ["", "", "yes", *map(ratio, seen)]]
    print(table(Table("Surveys left out", HEADER, rows, WORDS)))


if __name__ == "__main__":
    main()
