"""Average the weights of experiments that went on from the same start: python average.py OUT FOLDER … [--noise -3]

Weights that were trained apart from one start often lie in one basin, and their mean generalises better than each
(Wortsman et al. 2022, model soups). ``--noise`` is added to the logit of noise: below 0, fewer points are called so,
and fewer of these are none.
"""

import argparse
import shutil
from pathlib import Path

import torch
from tiles import NOISE

from app.zoo import checkpoint


def average(folders: list[Path], out: Path, noise: float = 0.0) -> None:
    """Write to ``out`` the config of the first folder and the mean of all weights, in half precision."""
    states = [checkpoint.read(folder / "model" / "model_best.pth") for folder in folders]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    mean["backbone.final.bias"][NOISE] += noise
    halves = {name: value.half() if value.is_floating_point() else value for name, value in mean.items()}
    (out / "model").mkdir(parents=True, exist_ok=True)
    shutil.copy(folders[0] / "config.py", out / "config.py")
    torch.save({"state_dict": halves}, out / "model" / "model_best.pth")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--noise", type=float, default=0.0)
    given = parser.parse_args()
    average(given.folders, given.out, given.noise)
