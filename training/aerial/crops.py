"""Random crops of tiles, ready for the network but for what a device with many cores works out sooner: roughness."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from augment import augment, graft, thin
from tiles import Tile
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from app.pipeline.roughness import roughness_of
from app.pipeline.transforms import apply

SPARSEST_PER_M2 = 0.08
POINTS_A_CELL = 6  # of which thinning keeps one; more would cost time and change nothing


class Crops(IterableDataset):
    """Endless crops: (grid coordinates int64 (V, 3), coordinates float32 (V, 3), features without roughness float32
    (V, C), labels int64 (V,)).

    A tile is drawn with the square root of its labelled points, half as often if it is labelled in part, and again if
    nearly all of it is ground; its own density, or one between the sparsest worth serving and its own; a square of
    about ``points`` points at that density, around any point or one of a class drawn from those of the tile. Every
    other square has a part of another tile put into it; then ``augment`` changes it.
    """

    def __init__(self, tiles: list[Tile], test: dict[str, Any], points: int, seed: int):
        self.tiles = [tile.take(np.argsort(tile.xyz[:, 0])) for tile in tiles]  # so that a square is in a run of them
        self.test = test
        self.post_transform, self.neighbours = _without_roughness(test["test_cfg"]["post_transform"])
        self.points = points
        self.seed = seed
        weight = np.array([chance_of(tile) for tile in self.tiles])
        self.chance = weight / weight.sum()
        self.rows = [
            [np.flatnonzero(tile.label == number) for number in np.unique(tile.label[tile.label >= 0])]
            for tile in self.tiles
        ]
        self.density_per_m2 = [tile.density_per_m2 for tile in self.tiles]

    def __iter__(self):
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            crop = self._crop(rng)
            if len(crop) > 200 and rng.random() < 0.5:
                crop = graft(crop, self._crop(rng, crop.density_per_m2), rng)
            if len(crop) >= 200 and (crop.label >= 0).sum() >= 50:
                yield self._tensors(augment(crop, rng), rng)

    def _crop(self, rng: np.random.Generator, density_per_m2: float | None = None) -> Tile:
        """A square of a tile, of ``density_per_m2`` or what the tile has of it; of any density where that is None."""
        index = rng.choice(len(self.tiles), p=self.chance)
        tile, density = self.tiles[index], self.density_per_m2[index]
        target = min(density, density_per_m2 or density)
        if density_per_m2 is None and rng.random() < 0.5 and density > SPARSEST_PER_M2:
            target = np.exp(rng.uniform(np.log(SPARSEST_PER_M2), np.log(density)))
        side_m = np.clip(np.sqrt(self.points * rng.uniform(0.3, 1.2) / target), 30, 700)
        rows = self.rows[index]
        row = rng.choice(rows[rng.integers(len(rows))]) if rng.random() < 0.5 else rng.integers(len(tile))
        centre = tile.xyz[row, :2]
        first, last = np.searchsorted(tile.xyz[:, 0], centre[0] + np.array([-0.5, 0.5]) * side_m)
        inside = np.abs(tile.xyz[first:last, 1] - centre[1]) < side_m / 2
        rows = first + np.flatnonzero(inside)
        if target < density and len(rows) > 200:
            share = min(1.0, POINTS_A_CELL * target / density)
            crop = tile.take(rows[rng.random(len(rows)) < share])
            return thin(crop, target, rng, density * share)
        return tile.take(rows)

    def _tensors(self, tile: Tile, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        config = self.test["test_cfg"]
        sample = apply(self.test["transform"], tile.sample())
        sample["coord"] += torch.from_numpy(rng.uniform(0, config["voxelize"]["grid_size"], 3)).float()
        picker = np.random.RandomState(rng.integers(1 << 31))
        sample = apply([config["voxelize"] | {"mode": "train"}], sample, picker)
        sample = apply(self.post_transform, sample) | {"segment": sample["segment"]}
        return sample["grid_coord"], sample["coord"].float(), sample["feat"], sample["segment"]


def chance_of(tile: Tile) -> float:
    """How often the tile is drawn, beside others."""
    known = tile.label[tile.label >= 0]
    chance = np.sqrt(len(known))
    if "partial" in tile.name:
        chance /= 2
    if (known == 0).mean() > 0.9:
        chance /= 2
    return float(chance)


def _without_roughness(transforms: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """``transforms`` with a Collect at their end, without roughness, its last feature; and the neighbours asked for."""
    *others, collect = [each for each in transforms if each["type"] != "Roughness"]
    (roughness,) = [each for each in transforms if each["type"] == "Roughness"]
    *keys, last = collect["feat_keys"]
    if last != "roughness":
        raise ValueError(f"the last of feat_keys must be roughness, not {last}")
    return [*others, collect | {"feat_keys": keys}], roughness["neighbours"]


@dataclass(frozen=True)
class Batch:
    """Voxels int64 (V, 4), their crop's number first; coordinates float32 (V, 3); where each crop ends, int64 (B,);
    features float32 (V, C) and labels int64 (V,)."""

    voxels: Tensor
    coord: Tensor
    ends: Tensor
    features: Tensor
    labels: Tensor

    def to(self, device: str) -> "Batch":
        """The same on ``device``."""
        return Batch(*(part.to(device, non_blocking=True) for part in self.parts()))

    def pin_memory(self) -> "Batch":
        """The same where a GPU reads it while the processor goes on; called by the DataLoader."""
        return Batch(*(part.pin_memory() for part in self.parts()))

    def parts(self) -> list[Tensor]:
        """All tensors, in their order."""
        return [getattr(self, field.name) for field in fields(self)]

    def with_roughness(self, neighbours: tuple[int, ...]) -> Tensor:
        """All features, as the config's Collect orders them."""
        return torch.cat([self.features, roughness_of(self.coord, neighbours, self.ends)], 1)


def collate(crops: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> Batch:
    """Several crops as one batch."""
    grids, coords, features, labels = zip(*crops, strict=True)
    sizes = torch.tensor([len(grid) for grid in grids])
    number = torch.arange(len(grids)).repeat_interleave(sizes)
    voxels = torch.cat([number[:, None], torch.cat(grids)], 1)
    return Batch(voxels, torch.cat(coords), sizes.cumsum(0), torch.cat(features), torch.cat(labels))
