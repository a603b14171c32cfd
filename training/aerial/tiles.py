"""Labelled airborne tiles, read once and kept as arrays."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import laspy
import numpy as np
import torch

IGNORE = -1
CLASS_OF_ASPRS = {2: 0, 3: 1, 4: 2, 5: 2, 6: 3}


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
        column, row = (self.xyz[:, :2] // 10).astype(np.int64).T
        return len(self) / (100.0 * len(np.unique(column << 32 | row)))

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


def read(path: Path) -> Tile:
    """One LAZ file with its ASPRS codes mapped to the classes of the config."""
    las = laspy.read(path)
    codes = np.full(256, IGNORE, np.int64)
    codes[list(CLASS_OF_ASPRS)] = list(CLASS_OF_ASPRS.values())
    xyz = np.stack([las.x, las.y, las.z], 1)
    return Tile(
        path.stem,
        xyz - xyz.min(0),
        np.asarray(las.return_number),
        np.asarray(las.number_of_returns),
        codes[np.asarray(las.classification)],
    )


def read_folder(folder: Path, without: tuple[str, ...] = ()) -> list[Tile]:
    """Every LAZ file of a folder but those whose name contains a word of ``without``."""
    paths = [path for path in sorted(folder.glob("*.laz")) if not any(word in path.stem for word in without)]
    return [read(path) for path in paths]
