"""Clouds to ask a service for: made-up rooms of any size, or files."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import BadRequest

CLOUDS_A_SIZE = 3
SPACING_VOXELS = 0.7  # between neighbouring points, which makes two or three points a voxel, as in scans
SPACING_M = 0.014  # where the model does not say how large its voxels are
COLUMNS = {"color": ("red", "green", "blue"), "normal": ("nx", "ny", "nz"), "strength": ("intensity",)}


@dataclass(frozen=True)
class BenchCloud:
    """A file to send, with the options of POST /predict that it needs; ``weight`` is how often, among others."""

    label: str
    data: bytes
    options: Mapping[str, str]
    weight: float = 1.0


@dataclass(frozen=True)
class Size:
    """So many points; ``weight`` is how often, among other sizes."""

    num_points: int
    weight: float = 1.0


def sizes(text: str) -> list[Size]:
    """``"2000:8,50000"``, points with a weight or without, as sizes; raises BadRequest for anything else."""
    found = []
    for part in text.split(","):
        number, _, weight = part.partition(":")
        try:
            found.append(Size(int(number.replace("_", "")), float(weight or 1)))
        except ValueError:
            raise BadRequest(
                f"{part!r} is no size: expected POINTS or POINTS:WEIGHT, such as 10000 or 10000:5."
            ) from None
        if found[-1].num_points < 1 or not 0 < found[-1].weight < np.inf:
            raise BadRequest(f"{part!r} is no size: points and weight must be positive.")
    return found


def made_up(size: Size, card: Mapping[str, Any]) -> list[BenchCloud]:
    """Clouds of ``size`` for the model of ``card`` (of GET /models), as NPY with the columns that it reads."""
    spacing_m = SPACING_VOXELS * card["grid_size_m"] if card.get("grid_size_m") else SPACING_M
    wanted = [name for name in COLUMNS if name in card.get("feat_keys", ())]
    names = ["x", "y", "z", *(column for name in wanted for column in COLUMNS[name])]
    options = {"columns": ",".join(names), "format": "npy", "model": card["name"]}
    clouds = []
    for seed in range(CLOUDS_A_SIZE):
        file = io.BytesIO()
        np.save(file, room(size.num_points, spacing_m, wanted, seed))
        clouds.append(BenchCloud(f"{size.num_points:,}", file.getvalue(), options, size.weight / CLOUDS_A_SIZE))
    return clouds


def room(num_points: int, spacing_m: float, wanted: list[str], seed: int) -> np.ndarray:
    """float64 (N, C) points on the floor and two walls of a room, with those of color, normal and strength that
    ``wanted`` names; more points make a larger room."""
    rng = np.random.default_rng(seed)
    side_m = np.sqrt(num_points / 3) * spacing_m
    wall = rng.integers(0, 3, num_points)
    xyz = rng.uniform(0, side_m, (num_points, 3))
    xyz[np.arange(num_points), wall] = 0.0
    known = {
        "color": rng.integers(0, 256, (num_points, 3)),
        "normal": np.eye(3)[wall],
        "strength": rng.random((num_points, 1)),
    }
    return np.hstack([xyz, *(known[name] for name in wanted)])


def of_file(path: Path, model: str) -> BenchCloud:
    """The file at ``path``; raises BadRequest if it is empty."""
    data = path.read_bytes()
    if not data:
        raise BadRequest(f"{path} is empty.")
    return BenchCloud(path.name, data, {"filename": path.name, "model": model})
