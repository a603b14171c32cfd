"""Average the weights of experiments that went on from the same start: python average.py OUT FOLDER FOLDER …

Weights that were trained apart from one start often lie in one basin, and their mean generalises better than each
(Wortsman et al. 2022, model soups).
"""

import shutil
import sys
from pathlib import Path

import torch

from app.zoo import checkpoint


def average(folders: list[Path], out: Path) -> None:
    """Write to ``out`` the config of the first folder and the mean of all weights, in half precision."""
    states = [checkpoint.read(folder / "model" / "model_best.pth") for folder in folders]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0).half() if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    (out / "model").mkdir(parents=True, exist_ok=True)
    shutil.copy(folders[0] / "config.py", out / "config.py")
    torch.save({"state_dict": mean}, out / "model" / "model_best.pth")


if __name__ == "__main__":
    average([Path(folder) for folder in sys.argv[2:]], Path(sys.argv[1]))
