"""Labelled airborne tiles, read once and kept as arrays."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import laspy
import numpy as np
import torch
from scipy.spatial import cKDTree

IGNORE = -1
BUILDING, WIRE, NOISE = 3, 4, 5
NUM_CLASSES = 6
CLASS_OF_ASPRS = {2: 0, 3: 1, 4: 2, 5: 2, 6: BUILDING, 14: WIRE}
ARTEFACTS = (7, 65)  # noise where they are far from all other points
KEPT_M = 150  # of each power line


@dataclass(frozen=True)
class Tile:
    """One file: ``xyz`` float64 (N, 3) in metres from its lowest corner, ``label`` int64 (N,) with -1 ignored."""

    name: str
    xyz: np.ndarray
    return_number: np.ndarray
    number_of_returns: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.xyz)

    @property
    def density_per_m2(self) -> float:
        """Points per square metre of the cells of 10 m that hold any."""
        column, row = np.floor(self.xyz[:, :2] / 10).astype(np.int64).T
        column, row = column - column.min(), row - row.min()
        is_occupied = np.zeros((column.max() + 1) * (row.max() + 1), bool)
        is_occupied[column * (row.max() + 1) + row] = True
        return len(self) / (100.0 * np.count_nonzero(is_occupied))

    def take(self, rows: np.ndarray) -> "Tile":
        """The points ``rows``, an index or a mask."""
        return Tile(self.name, self.xyz[rows], self.return_number[rows], self.number_of_returns[rows], self.label[rows])

    def sample(self) -> dict[str, torch.Tensor]:
        """The tile as the transforms of the config read it."""
        return {
            "coord": torch.from_numpy(self.xyz).float(),
            "return_number": torch.from_numpy(self.return_number.astype(np.float32)),
            "number_of_returns": torch.from_numpy(self.number_of_returns.astype(np.float32)),
            "segment": torch.from_numpy(self.label),
        }


def join(one: Tile, other: Tile) -> Tile:
    """The points of both."""
    pairs = zip(dataclasses.astuple(one)[1:], dataclasses.astuple(other)[1:], strict=True)
    return Tile(one.name, *(np.concatenate(pair) for pair in pairs))


def is_isolated(xyz: np.ndarray, tile: Tile) -> np.ndarray:
    """bool (M,), whether points are so far from all of the tile that they can be told from them.

    Below the nearest point they need a distance of one spacing of points and of 0.8 m, above it three and 2 m.
    """
    spacing_m = tile.density_per_m2**-0.5
    distance_m, nearest = cKDTree(tile.xyz, compact_nodes=False, balanced_tree=False).query(xyz)  # soonest built
    is_below = xyz[:, 2] - tile.xyz[nearest, 2] < -0.7 * distance_m
    return distance_m > np.where(is_below, max(0.8, spacing_m), max(2.0, 3 * spacing_m))


def read(path: Path) -> Tile:
    """One LAZ file with its ASPRS codes mapped to the classes of the config."""
    las = laspy.read(path)
    class_of_code = np.full(256, IGNORE, np.int64)
    class_of_code[list(CLASS_OF_ASPRS)] = list(CLASS_OF_ASPRS.values())
    xyz, codes = np.stack([las.x, las.y, las.z], 1), np.asarray(las.classification)
    echoes = np.asarray(las.return_number), np.asarray(las.number_of_returns)
    tile = Tile(path.stem, xyz - xyz.min(0), *echoes, class_of_code[codes])
    is_artefact = np.isin(codes, ARTEFACTS)
    if is_artefact.any():
        tile.label[is_artefact] = np.where(is_isolated(tile.xyz[is_artefact], tile.take(~is_artefact)), NOISE, IGNORE)
    return tile


def read_folder(folder: Path) -> list[Tile]:
    """Every LAZ file of a folder."""
    return [read(path) for path in sorted(folder.glob("*.laz"))]


def halves(tile: Tile, kept_m: float) -> tuple[Tile, Tile]:
    """The tile without its north end, and the end of ``kept_m``, which a strip of 20 m separates."""
    from_end_m = tile.xyz[:, 1].max() - tile.xyz[:, 1]
    return tile.take(from_end_m > kept_m + 20), tile.take(from_end_m < kept_m)


def parts(folder: Path, without: Sequence[str] = ()) -> tuple[list[Tile], dict[str, list[Tile]]]:
    """The tiles to train with, and by part those to score: val, ends of power lines, tiles named like ``without``."""
    known: list[Tile] = []
    scored: dict[str, list[Tile]] = {"val": read_folder(folder / "val"), "power lines": [], "held out": []}
    for tile in read_folder(folder / "train"):
        if any(word in tile.name for word in without):
            scored["held out"].append(tile)
        elif (tile.label == WIRE).any():
            rest, end = halves(tile, KEPT_M)
            known.append(rest)
            scored["power lines"].append(end)
        else:
            known.append(tile)
    return known, {part: tiles for part, tiles in scored.items() if tiles}
