"""A cloud in, a label for every point out: the one place where the steps of the pipeline meet."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.clouds.cloud import FIELDS, Cloud, Segmentation
from app.errors import BadModel, BadRequest
from app.networks.fold import fold
from app.networks.scene import Scene

from . import features, tiling, transforms
from .recipe import Recipe
from .sample import take
from .voxelize import Voxels, voxelize

OLD_COLOURS = (
    "The model's config has GridSample(keys=…) of old Pointcept versions, which trained on colours from -1 to 1; "
    "it is given colours from 0 to 1, so expect wrong labels."
)


@dataclass(frozen=True)
class Prepared:
    """What a network needs of a cloud of N points, of which M are usable and fall into V voxels.

    Attributes:
        rows: int64 (M,), the usable points.
        voxels: of these M points.
        grid_coord: int64 (V, 3), from 0.
        coord: float32 (V, 3), position of the first point of each voxel, as the transforms leave it.
        feat: float32 (V, C), features of the same point.
    """

    rows: np.ndarray
    voxels: Voxels
    grid_coord: np.ndarray
    coord: np.ndarray
    feat: np.ndarray


@dataclass
class _Run:
    """What one call gathers for the answer."""

    warnings: list[str]
    timings_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings_ms[name] = self.timings_ms.get(name, 0.0) + 1e3 * (time.perf_counter() - start)


class Segmenter:
    """A network with the procedure it was trained for, on one device.

    Args:
        network: has ``plan(scene)`` and ``forward(features, plan)`` for float32 (V, C), giving logits
            (V, num_classes); its weights are loaded.
        recipe: transforms, voxels and classes of the model.
        device: a torch device.
        tile_voxels: clouds of more voxels are cut into tiles of about so many.

    Raises BadModel where a transform of the recipe is not served.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, device: str = "cpu", tile_voxels: int = 400_000):
        for transform in (*recipe.transform, recipe.voxelize, *recipe.post_transform):
            transforms.check(transform)
        if recipe.voxelize["type"] != "GridSample":
            raise BadModel(f"test_cfg.voxelize must be a GridSample, got {recipe.voxelize['type']!r}")
        if not any(transform["type"] == "Collect" for transform in recipe.post_transform):
            raise BadModel("test_cfg.post_transform must end in a Collect, which names the features")
        self.network: Any = fold(network.to(device).eval())
        self.recipe = recipe
        self.device = torch.device(device)
        self.tile_voxels = tile_voxels
        self.grid_size = recipe.voxelize.get("grid_size", 0.05)
        self.warnings = [OLD_COLOURS] if _has_old_colours(recipe) else []

    def segment(self, cloud: Cloud, fields: tuple[str, ...] = (), seed: int = 0) -> Segmentation:
        """Labels, and the ``fields`` asked for (of app.clouds.cloud.FIELDS), for every point of ``cloud`` in its order.

        One pass: no view, no random thinning; each voxel is represented by its first point, and its points share
        its label. ``seed`` feeds transforms that draw at random, of which this mode has none.
        """
        unknown = sorted(set(fields) - set(FIELDS))
        if unknown:
            raise BadRequest(f"unknown field {', '.join(unknown)}; known are {', '.join(FIELDS)}")
        run = _Run([*cloud.warnings, *self.warnings])
        prepared = self._prepare(cloud, seed, run)
        probabilities = None if prepared is None else self._probabilities(prepared, run)
        with run.stage("project"):
            return self._project(len(cloud), prepared, probabilities, fields, run)

    def prepare(self, cloud: Cloud, seed: int = 0) -> Prepared | None:
        """Voxels and features of ``cloud``; None where no point is usable. Raises BadCloud and BadRequest."""
        return self._prepare(cloud, seed, _Run([]))

    @torch.inference_mode()
    def logits(self, prepared: Prepared) -> Tensor:
        """Logits float32 (V, num_classes) on the device, of all voxels in one pass."""
        return self._logits(prepared.grid_coord, prepared.coord, prepared.feat, _Run([]))

    def _prepare(self, cloud: Cloud, seed: int, run: _Run) -> Prepared | None:
        with run.stage("features"):
            rows = features.usable_points(cloud.xyz, float(np.min(self.grid_size)), run.warnings)
            if not len(rows):
                return None
            sample = features.build_sample(cloud, rows, self.recipe, run.warnings)
            sample["row"] = rows
            chain = [transform for transform in self.recipe.transform if transform["type"] != "GridSample"]
            sample = transforms.apply(chain, sample, np.random.RandomState(seed))
        with run.stage("voxelize"):
            voxels = voxelize(sample["coord"], self.grid_size, self.recipe.voxelize.get("hash_type", "fnv"))
            first = voxels.first_points()
            grid_coord = voxels.grid_coord[first]
            representatives = take(sample, first) | {"grid_coord": grid_coord, "index": first}
            collected = transforms.apply(self.recipe.post_transform, representatives)
            coord = collected["coord"].astype(np.float32, copy=False)
        return Prepared(sample["row"], voxels, grid_coord, coord, collected["feat"])

    def _logits(self, grid_coord: np.ndarray, coord: np.ndarray, feat: np.ndarray, run: _Run) -> Tensor:
        with run.stage("plan"):
            voxels = np.zeros((len(grid_coord), 4), np.int64)
            voxels[:, 1:] = grid_coord
            voxels_there, coord_there = (torch.from_numpy(array).to(self.device) for array in (voxels, coord))
            plan = self.network.plan(Scene(voxels_there, coord_there))
        with run.stage("network"):
            logits = self.network(torch.from_numpy(feat).to(self.device), plan).float()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        if logits.shape[1] != len(self.recipe.classes):
            raise BadModel(f"the network has {logits.shape[1]} outputs, the config {len(self.recipe.classes)} classes")
        return logits

    @torch.inference_mode()
    def _probabilities(self, prepared: Prepared, run: _Run) -> np.ndarray:
        """float32 (V, num_classes), joined from the tiles."""
        joined = np.zeros((len(prepared.voxels), len(self.recipe.classes)), np.float32)
        weight = np.zeros((len(prepared.voxels), 1), np.float32)
        for tile in tiling.cut(prepared.grid_coord, self.tile_voxels):
            grid_coord = prepared.grid_coord[tile.rows] - tile.origin
            logits = self._logits(grid_coord, prepared.coord[tile.rows], prepared.feat[tile.rows], run)
            with run.stage("project"):
                share = tile.weights[:, None]
                joined[tile.rows] += logits.softmax(1).cpu().numpy() * share
                weight[tile.rows] += share
        joined /= weight
        return joined

    def _project(
        self,
        num_points: int,
        prepared: Prepared | None,
        probabilities: np.ndarray | None,
        fields: tuple[str, ...],
        run: _Run,
    ) -> Segmentation:
        """From the voxels to all points of the cloud."""
        out = Segmentation(
            labels=np.full(num_points, self.recipe.ignore_label, np.int32),
            classes=self.recipe.classes,
            ignore_label=self.recipe.ignore_label,
            model=self.recipe.name,
            warnings=run.warnings,
            timings_ms=run.timings_ms,
        )
        of_voxel: dict[str, np.ndarray] = {}
        if prepared is not None and probabilities is not None:
            ids = np.array([known.id for known in self.recipe.classes], np.int32)
            of_voxel = _fields(probabilities, fields)
            out.labels[prepared.rows] = ids[probabilities.argmax(1)][prepared.voxels.inverse]
        for name in fields:
            shape = (num_points, len(self.recipe.classes)) if name == "probabilities" else (num_points,)
            values = np.zeros(shape, np.float32)
            if prepared is not None:
                values[prepared.rows] = of_voxel[name][prepared.voxels.inverse]
            setattr(out, name, values)
        return out


def _has_old_colours(recipe: Recipe) -> bool:
    steps = [*recipe.transform, recipe.voxelize, *recipe.post_transform]
    has_keys = any(step["type"] == "GridSample" and step.get("keys") for step in steps)
    return has_keys and any(step["type"] == "NormalizeColor" for step in steps)


def _fields(probabilities: np.ndarray, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The per-voxel ``fields`` of (V, num_classes)."""
    out = {}
    if "confidence" in fields:
        out["confidence"] = probabilities.max(1)
    if "entropy" in fields:
        out["entropy"] = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(1)
    if "probabilities" in fields:
        out["probabilities"] = probabilities
    return out
