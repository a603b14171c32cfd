"""From a cloud to what a network reads: points through the procedure's transforms, voxels, features."""

from dataclasses import dataclass

import numpy as np

from app.clouds.cloud import Cloud

from . import features, transforms, unit_conversion
from .procedure import InferenceProcedure
from .run_context import RunContext
from .sample import Sample, take
from .voxelize import Voxels, voxelize


@dataclass(frozen=True)
class Staged:
    """The usable points of a cloud after ``procedure.transform``.

    Attributes:
        rows: int64 (M,), the usable points of the cloud.
        sample: of P points.
        stand_in: int64 (M,), the point of ``sample`` that each usable one is represented by, -1 where none is.
        rng: what the transforms drew from, for what is drawn after them.
    """

    rows: np.ndarray
    sample: Sample
    stand_in: np.ndarray
    rng: np.random.RandomState


@dataclass(frozen=True)
class Prepared:
    """Staged points that fall into V voxels, each represented by one of them.

    Attributes:
        rows: int64 (M,), the usable points of the cloud.
        stand_in: int64 (M,), the staged point that each is represented by, -1 where none is.
        voxels: of the staged points.
        grid_coord: int64 (V, 3), from 0.
        coord: float32 (V, 3), position of the point that represents each voxel, as the transforms leave it.
        feat: float32 (V, C), features of the same point.
    """

    rows: np.ndarray
    stand_in: np.ndarray
    voxels: Voxels
    grid_coord: np.ndarray
    coord: np.ndarray
    feat: np.ndarray


def stage(cloud: Cloud, procedure: InferenceProcedure, seed: int, run: RunContext, *, thin: bool) -> Staged | None:
    """The usable points through the procedure's transforms; None if no point is usable.

    A GridSample among the transforms (a pre-grid) keeps a point a cell, drawn by ``seed``; it is left out unless
    ``thin``. Raises BadCloud and BadRequest.
    """
    with run.stage("features"):
        smallest = float(np.min(procedure.voxelize.get("grid_size", 0.05)))
        cloud = unit_conversion.in_unit(cloud, procedure.unit, run)
        rows = features.usable_points(cloud.xyz, smallest, run.warnings, procedure.unit)
        if not len(rows):
            return None
        sample = features.build_sample(cloud, rows, procedure, run.warnings)
        rng = np.random.RandomState(seed)
        stand_in = np.arange(len(rows))
        for transform in procedure.transform:
            if transform["type"] == "GridSample":
                if thin:
                    sample = transforms.apply([transform | {"return_inverse": True}], sample, rng)
                    stand_in = np.where(stand_in < 0, -1, sample.pop("inverse")[stand_in])
                continue
            num_points = len(sample["coord"])
            numbers = np.arange(num_points)
            sample = transforms.apply([transform], sample | {"row": numbers}, rng)
            kept = sample.pop("row")
            if kept is numbers:
                continue
            place = np.full(num_points, -1)
            place[kept] = np.arange(len(kept))
            stand_in = np.where(stand_in < 0, -1, place[stand_in])
    return Staged(rows, sample, stand_in, rng)


def grid(sample: Sample, procedure: InferenceProcedure) -> Voxels:
    """The voxels of the procedure's ``voxelize``."""
    return voxelize(
        sample["coord"], procedure.voxelize.get("grid_size", 0.05), procedure.voxelize.get("hash_type", "fnv")
    )


def represent(
    sample: Sample, voxels: Voxels, points: np.ndarray, procedure: InferenceProcedure, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Positions float32 (V, 3) and features float32 (V, C) of ``points`` int64 (V,), one in each voxel in its order."""
    chosen = take(sample, points) | {"grid_coord": np.take(voxels.grid_coord, points, axis=0), "index": points}
    if procedure.voxelize.get("return_displacement"):
        displacement = voxels.displacement(sample["coord"], points)
        if procedure.voxelize.get("project_displacement"):
            displacement = (displacement * chosen["normal"]).sum(1, keepdims=True)
        chosen["displacement"] = displacement
    collected = transforms.apply(procedure.post_transform, chosen, device=device)
    return collected["coord"].astype(np.float32, copy=False), collected["feat"]


def prepare(cloud: Cloud, procedure: InferenceProcedure, seed: int, device: str, run: RunContext) -> Prepared | None:
    """Voxels and features of ``cloud`` for one pass; None if no point is usable. Raises BadCloud and BadRequest.

    A voxel is represented by its first point in input order. ``device`` helps with what it is good at; all results are
    on the processor.
    """
    staged = stage(cloud, procedure, seed, run, thin=False)
    if staged is None:
        return None
    with run.stage("voxelize"):
        voxels = grid(staged.sample, procedure)
        return prepared(staged, voxels, voxels.first_points(), procedure, device)


def prepared(
    staged: Staged, voxels: Voxels, points: np.ndarray, procedure: InferenceProcedure, device: str
) -> Prepared:
    """``voxels`` of the staged points, represented by ``points`` int64 (V,), one in each in its order."""
    coord, feat = represent(staged.sample, voxels, points, procedure, device)
    return Prepared(staged.rows, staged.stand_in, voxels, np.take(voxels.grid_coord, points, axis=0), coord, feat)
