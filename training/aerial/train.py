"""Train the bundled airborne model.

python training/aerial/train.py --data FOLDER --out FOLDER [--minutes 9] [--without WORD …]

FOLDER holds train/*.laz and val/*.laz with ASPRS codes. Writes an experiment folder (config.py, model/model_best.pth) and
scores.json. ``--without`` leaves tiles out of training and scores them instead: how well the network meets a new survey.
"""

import argparse
import copy
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from crops import Crops, collate
from score import report
from tiles import read_folder
from torch import nn
from torch.utils.data import DataLoader

from app.networks.registry import build
from app.zoo.config import evaluate

CLASS_WEIGHTS = (1.0, 1.5, 1.2, 1.5, 0.7)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--crops", type=int, default=6, help="crops in a batch")
    parser.add_argument("--points", type=int, default=40_000, help="points in a crop, about")
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--without", nargs="*", default=[], help="tiles to leave out and to score")
    return parser.parse_args()


def learning_rate(progress: float, highest: float) -> float:
    """Up over the first twentieth, then down along a cosine."""
    if progress < 0.05:
        return highest * (0.05 + progress / 0.05)
    return highest * (0.5 + 0.5 * np.cos(np.pi * (progress - 0.05) / 0.95)) + 1e-6


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the running average of the weights towards the network."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def train(options: argparse.Namespace, config: dict, device: str) -> nn.Module:
    """The averaged network after ``minutes`` of training."""
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    tiles = read_folder(options.data / "train", tuple(options.without))
    loader = DataLoader(
        Crops(tiles, config["data"]["test"], options.points, options.seed),
        batch_size=options.crops,
        num_workers=options.workers,
        collate_fn=collate,
        prefetch_factor=4 if options.workers else None,
    )
    network = build(config["model"]).to(device).train()
    average = copy.deepcopy(network).eval()
    loss_of = nn.CrossEntropyLoss(torch.tensor(CLASS_WEIGHTS, device=device), ignore_index=-1, label_smoothing=0.02)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=0.02)
    start, losses = time.monotonic(), []
    for step, (coords, features, labels) in enumerate(loader):
        progress = (time.monotonic() - start) / (60 * options.minutes)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, options.learning_rate)
        coords, features, labels = (tensor.to(device, non_blocking=True) for tensor in (coords, features, labels))
        loss = loss_of(network(features, network.plan(coords)), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        follow(average, network, min(0.999, (step + 1) / (step + 20)))
        losses.append(loss.detach())
        if step % 200 == 0:
            mean = torch.stack(losses[-200:]).mean().item()
            print(f"{options.out.name}: step {step}, {progress:.0%}, loss {mean:.4f}, {len(coords)} voxels", flush=True)
    return average


def save(network: nn.Module, folder: Path) -> None:
    """The experiment folder, weights in half precision."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("config.py"), folder / "config.py")
    weights = {
        name: (value.half() if value.is_floating_point() else value).cpu()
        for name, value in network.state_dict().items()
    }
    torch.save({"state_dict": weights}, folder / "model" / "model_best.pth")


def main() -> None:
    options = arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = evaluate(Path(__file__).with_name("config.py"))
    network = train(options, config, device)
    save(network, options.out)
    held_out = [tile for tile in read_folder(options.data / "train") if any(word in tile.name for word in options.without)]
    scores = {"val": report(network, config["data"]["test"], read_folder(options.data / "val"), device)}
    if held_out:
        scores["held out"] = report(network, config["data"]["test"], held_out, device)
    (options.out / "scores.json").write_text(json.dumps(scores, indent=1))
    for part, variants in scores.items():
        for variant, score in variants.items():
            print(f"{options.out.name}: {part}, {variant}: mIoU {score['miou']}, {score['merged']}, {score['classes']}")
            print("   ", score["tiles"], flush=True)


if __name__ == "__main__":
    main()
