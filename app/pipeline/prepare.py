"""Preparation of a cloud for a network: the procedure's transforms, voxels, features."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.clouds.cloud import Cloud

from . import features, transforms, unit_conversion
from .procedure import InferenceProcedure
from .projection import Projection
from .run_context import RunContext
from .sample import Sample, box, take
from .tiling import ALIGNMENT
from .upload import upload
from .usable_points import usable_points
from .voxelize import Voxels, voxelize


@dataclass(frozen=True)
class TransformedCloud:
    """The usable points of a cloud after the transforms ``procedure.transform``.

    Attributes:
        sample: of P points.
        projection: from these to all points of the cloud.
        rng: what the transforms drew from, for what is drawn after them.
    """

    sample: Sample
    projection: Projection
    rng: np.random.RandomState


@dataclass(frozen=True)
class NetworkInput:
    """What a network reads: V voxels, each represented by one of its points; all tensors are on the device.

    Attributes:
        projection: from the voxels to all points of the cloud.
        points: int64 (V,), the point of ``TransformedCloud`` that represents each voxel.
        grid_coord: int64 (V, 3), from 0.
        coord: float32 (V, 3), position of the point that represents each voxel, as the transforms leave it.
        feat: float32 (V, C), features of the same point.
    """

    projection: Projection
    points: Tensor
    grid_coord: Tensor
    coord: Tensor
    feat: Tensor

    def __len__(self) -> int:
        return len(self.points)


def apply_transforms(
    cloud: Cloud, procedure: InferenceProcedure, seed: int, device: str, run: RunContext, *, thin: bool
) -> TransformedCloud | None:
    """The usable points after the procedure's transforms; None if no point is usable.

    A GridSample among the transforms (a pre-grid) keeps a point a cell, drawn by ``seed``; it is left out unless
    ``thin``. Raises BadCloud and BadRequest.
    """
    with run.stage("features"):
        smallest = float(np.min(procedure.grid_size))
        xyz = unit_conversion.in_unit(upload(cloud.xyz, device), cloud.units, procedure.unit, run)
        points = usable_points(xyz, smallest, run.warnings, procedure.unit)
        if not len(points):
            return None
        sample = features.build_sample(cloud, points, procedure, run.warnings)
        rng = np.random.RandomState(seed)
        projection = Projection.of_usable(len(cloud), points.rows)
        for transform in procedure.transform:
            if transform["type"] == "GridSample":
                if not thin:
                    continue
                transform = transform | {"return_inverse": True}
            numbers = torch.arange(len(sample["coord"]), device=device)
            sample = transforms.apply([transform], sample | {"row": numbers}, rng)
            kept, inverse, noise = sample.pop("row"), sample.pop("inverse", None), sample.pop("noise", None)
            if noise is not None:
                num_hidden = int(projection.project(noise, False)[: cloud.num_answered].sum())  # not those of context
                run.warnings += [_left_out(num_hidden, procedure)] if num_hidden else []
                projection = projection.with_noise(noise)
            if inverse is not None:
                projection = projection.onto(inverse)
            elif kept is not numbers:
                place = torch.full_like(numbers, -1).index_copy_(0, kept, numbers[: len(kept)])
                projection = projection.onto(place, have_gaps=True)
    return TransformedCloud(sample, projection, rng)


def _left_out(num_points: int, procedure: InferenceProcedure) -> str:
    column = procedure.noise_column
    given = "what the lowest point nearby gets" if column is None else f"the class {procedure.classes[column].name}"
    return f"Noise below the terrain: {num_points:,} points are hidden from the network; they get {given}."


def grid(sample: Sample, procedure: InferenceProcedure) -> Voxels:
    """The voxels of the procedure's ``voxelize``, halved as those of the frame if the sample has one."""
    voxels = voxelize(sample["coord"], procedure.grid_size, procedure.voxelize.get("hash_type", "fnv"))
    return voxels.aligned(box(sample)[0], ALIGNMENT) if "frame" in sample else voxels


def represent(
    sample: Sample, voxels: Voxels, points: Tensor, grid_coord: Tensor, procedure: InferenceProcedure
) -> tuple[Tensor, Tensor]:
    """Positions float32 (V, 3) and features float32 (V, C) of ``points`` int64 (V,), one in each voxel in its order.

    ``grid_coord`` int64 (V, 3) are the voxels.
    """
    chosen = take(sample, points) | {"grid_coord": grid_coord, "index": points}
    if procedure.voxelize.get("return_displacement"):
        chosen["displacement"] = voxels.displacement(sample["coord"], points)
        if procedure.voxelize.get("project_displacement"):
            chosen["displacement"] = (chosen["displacement"] * chosen["normal"]).sum(1, keepdim=True)
    collected = transforms.apply(procedure.post_transform, chosen)
    return collected["coord"].float(), collected["feat"]


def prepare(
    cloud: Cloud, procedure: InferenceProcedure, seed: int, device: str, run: RunContext
) -> NetworkInput | None:
    """Voxels and features of ``cloud`` for one pass; None if no point is usable. Raises BadCloud and BadRequest.

    A voxel is represented by its first point in input order.
    """
    transformed = apply_transforms(cloud, procedure, seed, device, run, thin=False)
    if transformed is None:
        return None
    with run.stage("voxelize"):
        voxels = grid(transformed.sample, procedure)
        projection = transformed.projection.onto(voxels.inverse)
        return network_input(transformed.sample, voxels, voxels.first_points(), projection, procedure)


def network_input(
    sample: Sample, voxels: Voxels, points: Tensor, projection: Projection, procedure: InferenceProcedure
) -> NetworkInput:
    """``voxels`` of ``sample``, each represented by one of its ``points``, int64 (V,) in the order of the voxels."""
    grid_coord = voxels.grid_coord.index_select(0, points)
    coord, feat = represent(sample, voxels, points, grid_coord, procedure)
    return NetworkInput(projection, points, grid_coord, coord, feat)
