"""Train the bundled airborne model.

python training/aerial/train.py --data FOLDER --out FOLDER [--minutes 9] [--without WORD …]

FOLDER holds train/*.laz and val/*.laz with ASPRS codes. Writes an experiment folder (config.py, model/model_best.pth),
every minute and at the end, and scores.json. The north end of each power line is left out of training and scored.
``--without`` leaves tiles out of training and scores them instead: how well the network meets a new survey.
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
from loss import Loss
from score import report
from tiles import Tile, parts
from torch import nn
from torch.utils.data import DataLoader

from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from app.zoo import checkpoint
from app.zoo.config import evaluate

CONFIG = Path(__file__).parent / "config.py"
AVERAGE_EVERY = 10  # steps
SAVE_EVERY_S = 60
PRINT_EVERY = 200  # steps
ROUGHNESS = 8  # inputs


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--crops", type=int, default=4, help="crops in a batch")
    parser.add_argument("--points", type=int, default=30_000, help="points in a crop, about")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--start", type=Path, help="experiment folder to go on from; new input channels start at zero")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--without", nargs="*", default=[], help="tiles to leave out and to score")
    parser.add_argument("--unscored", action="store_true", help="end once the weights are written")
    return parser.parse_args()


def learning_rate(progress: float, highest: float) -> float:
    """Up over the first twentieth, then down along a cosine."""
    if progress < 0.05:
        return highest * (0.05 + progress / 0.05)
    return highest * (0.5 + 0.5 * np.cos(np.pi * (progress - 0.05) / 0.95)) + 1e-6


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, share: float) -> None:
    """Move the running average of the weights towards the network by ``share`` of the way."""
    kept = [value for value in average.state_dict().values() if value.is_floating_point()]
    new = [value for value in network.state_dict().values() if value.is_floating_point()]
    torch._foreach_lerp_(kept, new, share)


def resume(network: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Load weights that may lack the last classes, which begin as unlikely, and inputs before roughness, as zero."""
    wanted, stem = network.state_dict(), "backbone.conv_input.0.weight"
    weight, bias = "backbone.final.weight", "backbone.final.bias"
    given, roughness = weights[stem].split([weights[stem].shape[-1] - ROUGHNESS, ROUGHNESS], -1)
    missing = wanted[stem].shape[-1] - weights[stem].shape[-1]
    further = len(wanted[bias]) - len(weights[bias])
    head = weights[weight].reshape(-1, len(weights[bias]))  # as FinalConv reads it, (in, out)
    network.load_state_dict(
        weights
        | {
            stem: torch.cat([nn.functional.pad(given, (0, missing)), roughness], -1),
            weight: nn.functional.pad(head, (0, further)).reshape(wanted[weight].shape),
            bias: nn.functional.pad(weights[bias], (0, further), value=-3.0),
        }
    )


def train(options: argparse.Namespace, config: dict, tiles: list[Tile], device: str) -> nn.Module:
    """The averaged network after ``minutes`` of training."""
    torch.manual_seed(options.seed)
    crops = Crops(tiles, config["data"]["test"], options.points, options.seed)
    loader = DataLoader(
        crops,
        batch_size=options.crops,
        num_workers=options.workers,
        collate_fn=collate,
        prefetch_factor=4 if options.workers else None,
        pin_memory=device == "cuda",
    )
    network = build(config["model"]).to(device).train()
    if options.start:
        resume(network, checkpoint.read(options.start / "model" / "model_best.pth"))
    average = copy.deepcopy(network).eval()
    loss_of = Loss().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=0.02, fused=device == "cuda")
    start, saved, running = time.monotonic(), 0.0, torch.zeros((), device=device)
    waited_s, asked = 0.0, start
    for step, batch in enumerate(loader):
        waited_s += time.monotonic() - asked
        progress = (time.monotonic() - start) / (60 * options.minutes)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, options.learning_rate)
        batch = batch.to(device)
        logits = network(batch.with_roughness(crops.neighbours), network.plan(VoxelBatch(batch.voxels)))
        loss = loss_of(logits, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step % AVERAGE_EVERY == 0:
            follow(average, network, max(0.02, AVERAGE_EVERY / (step + AVERAGE_EVERY)))
        if time.monotonic() - start > saved + SAVE_EVERY_S:
            saved = time.monotonic() - start
            save(average, options.out, options.config)
        running.lerp_(loss.detach(), max(0.01, 1 / (step + 1)))
        if step % PRINT_EVERY == 0:
            print(
                f"{options.out.name}: step {step}, {progress:.0%}, loss {running.item():.4f}",
                f"{len(batch.labels)} voxels, {waited_s:.0f} s of {time.monotonic() - start:.0f} s waited for crops",
                flush=True,
            )
        asked = time.monotonic()
    return average


def save(network: nn.Module, folder: Path, config: Path) -> None:
    """The experiment folder, weights in half precision."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    shutil.copy(config, folder / "config.py")
    weights = {
        name: (value.half() if value.is_floating_point() else value).cpu()
        for name, value in network.state_dict().items()
    }
    path = folder / "model" / "model_best.pth"
    torch.save({"state_dict": weights}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def main() -> None:
    """Train, save, score."""
    options = arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True  # sparse convolutions too, by tensor cores
    config = evaluate(options.config)
    known, held_back = parts(options.data, options.without)
    network = train(options, config, known, device)
    save(network, options.out, options.config)
    if options.unscored:
        return
    scores: dict[str, dict] = {}
    for part, tiles in held_back.items():
        for variant, score in report(network, config["data"]["test"], tiles, device):
            scores.setdefault(part, {})[variant] = score
            (options.out / "scores.json").write_text(json.dumps(scores, indent=1))
            print(
                f"{options.out.name}: {part}, {variant}: mIoU {score['miou']}, {score['merged']},",
                f"{score['classes']}, noise {score['noise']}",
            )
            print("   ", score["tiles"], flush=True)


if __name__ == "__main__":
    main()
