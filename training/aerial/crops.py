"""Random crops of tiles, ready for the network."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from augment import augment, thin
from convolution import Level, levels_of
from tiles import Tile
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from app.pipeline.transforms import apply

SPARSEST_PER_M2 = 0.08


class Crops(IterableDataset):
    """Endless crops: (grid coordinates int64 (V, 3), features float32 (V, C), labels int64 (V,)).

    A tile is drawn with the square root of its labelled points; its own density, or one between the sparsest worth
    serving and its own; a square of about ``points`` points at that density; then ``augment`` changes it.
    """

    def __init__(self, tiles: list[Tile], test: dict[str, Any], points: int, seed: int):
        self.tiles = tiles
        self.test = test
        self.points = points
        self.seed = seed
        weight = np.array(
            [np.sqrt((tile.label >= 0).sum()) * (0.5 if (tile.label == 4).mean() > 0.5 else 1) for tile in tiles]
        )
        self.chance = weight / weight.sum()
        self.density_per_m2 = [tile.density_per_m2 for tile in tiles]

    def __iter__(self):
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            crop = self._crop(rng)
            if len(crop) >= 200 and (crop.label >= 0).sum() >= 50:
                yield self._tensors(augment(crop, rng), rng)

    def _crop(self, rng: np.random.Generator) -> Tile:
        index = rng.choice(len(self.tiles), p=self.chance)
        tile, density = self.tiles[index], self.density_per_m2[index]
        target = density
        if rng.random() < 0.5 and density > SPARSEST_PER_M2:
            target = np.exp(rng.uniform(np.log(SPARSEST_PER_M2), np.log(density)))
        side_m = np.clip(np.sqrt(self.points * rng.uniform(0.3, 1.2) / target), 30, 700)
        centre = tile.xyz[rng.integers(len(tile)), :2]
        inside = (np.abs(tile.xyz[:, :2] - centre) < side_m / 2).all(1)
        crop = tile.take(inside)
        return thin(crop, target, rng) if len(crop) > 200 else crop

    def _tensors(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        config = self.test["test_cfg"]
        sample = apply(self.test["transform"], tile.sample())
        picker = np.random.RandomState(rng.integers(1 << 31))
        sample = apply([config["voxelize"] | {"mode": "train"}], sample, picker)
        sample = apply(config["post_transform"], sample) | {"segment": sample["segment"]}
        return (
            torch.from_numpy(sample["grid_coord"].astype(np.int64)),
            torch.from_numpy(sample["feat"]),
            torch.from_numpy(sample["segment"].astype(np.int64)),
        )


@dataclass(frozen=True)
class Batch:
    """Voxels of every level, features float32 (V, C) and labels int64 (V,)."""

    levels: list[Level]
    features: Tensor
    labels: Tensor

    def to(self, device: str) -> "Batch":
        return Batch(
            [level.to(device) for level in self.levels],
            self.features.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
        )


def collate(crops: list[tuple[Tensor, Tensor, Tensor]], num_stages: int) -> Batch:
    """Several crops as one batch, the crop's index before the coordinates."""
    grids, features, labels = zip(*crops, strict=True)
    index = torch.cat([torch.full((len(grid), 1), i) for i, grid in enumerate(grids)])
    return Batch(levels_of(torch.cat([index, torch.cat(grids)], 1), num_stages), torch.cat(features), torch.cat(labels))
