"""``mode=exact``: upstream's tester, the sum of softmax outputs over every fragment of every view.

Fragment i holds point i modulo the count of every voxel, so all fragments of a view have the same voxels. What a
network plans for voxels alone is planned once, for views with equal voxels too. Fragments run in batches, each as a
cloud of its own; views of few fragments share a batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from . import tiling, views
from .inference import Inference, joined
from .out_of_memory import is_out_of_memory
from .predictions import Predictions
from .prepare import represent
from .procedure import InferenceProcedure
from .progress import Progress
from .run_context import RunContext
from .sample import Sample
from .tiling import Tile
from .views import View
from .voxelize import Voxels

BATCH_VOXELS = 100_000  # of a batch on the processor, whose caches hold no more; on a GPU it is as large as a tile
HELD_VOXELS = 16_000_000  # of fragments that are kept with their features while the tiles of a large cloud are run

Item = TypeVar("Item")


@dataclass(frozen=True)
class ProbabilitySums:
    """Softmax outputs, summed over the passes, for P points.

    Attributes:
        sums: float32 (P, num_classes), over the passes that a point was in.
        passes: of the network, made.
        passes_wanted: those that reach every point in every view; views that are alike count once.
    """

    sums: Tensor
    passes: int
    passes_wanted: int


@dataclass(frozen=True)
class _Fragment:
    """One point of each of V voxels.

    Attributes:
        voxels: int64 (V, 3), the same tensor for all fragments of equal voxels.
        points: int64 (V,), all different.
        coord: float32 (V, 3), their positions.
        feat: float32 (V, C), their features.
        weight: of their softmax outputs: how many views it stands for, or float32 (V, 1), that times the share of the
            tile.
    """

    voxels: Tensor
    points: Tensor
    coord: Tensor
    feat: Tensor
    weight: int | Tensor

    def within(self, tile: Tile, voxels: Tensor, shares: Tensor) -> "_Fragment":
        """The part within ``tile``, which has the ``voxels`` (T, 3) and the ``shares`` (T,) in their sums."""
        points, coord, feat = (values.index_select(0, tile.rows) for values in (self.points, self.coord, self.feat))
        return _Fragment(voxels, points, coord, feat, shares[:, None] * self.weight)


def sum_probabilities(
    inference: Inference,
    sample: Sample,
    procedure: InferenceProcedure,
    tile_voxels: int,
    max_passes: int,
    run: RunContext,
) -> ProbabilitySums:
    """The sums for the points of ``sample``, to which the procedure's transforms were applied.

    If ``max_passes`` does not reach every point, one that was in no pass gets the mean of its voxel in the first view,
    and ``run.warnings`` names the number. Raises BadModel if a view is not served or left to chance.
    """
    with run.stage("voxelize"):
        found = views.distinct(sample, procedure)
    allotted = views.allot(found, max_passes)
    groups: dict[tuple[int, int], list[tuple[View, int]]] = {}
    for view, num_fragments in zip(found, allotted, strict=True):
        if num_fragments:
            groups.setdefault(view.voxels_key, []).append((view, num_fragments))

    def sums_of(inference: Inference) -> Tensor:
        tester = _Tester(inference, sample, procedure, tile_voxels, sum(allotted), run)
        for number, group in enumerate(groups.values()):
            if number == 1 and not run.checks_passed():
                break  # all is computed again
            tester.add(group)
        tester.finish()
        return tester.sums

    sums = inference.in_range(sums_of, run)
    passes, passes_wanted = sum(allotted), sum(view.num_fragments for view in found)
    if passes < passes_wanted:
        with run.stage("project"):
            num_missed = _fill(sums, views.apply_view(sample, found[0].steps, procedure)[1])
        run.warnings.append(
            f"mode=exact made {passes:,} of {passes_wanted:,} passes (max_passes); "
            f"points that were in none and got the mean of their voxel: {num_missed:,}."
        )
    return ProbabilitySums(sums, passes, passes_wanted)


def predictions(found: ProbabilitySums) -> Predictions:
    """For each point the class with the largest sum, and the sums divided by their total, in place."""
    best = found.sums.max(1).indices
    shares = found.sums
    shares /= shares.sum(1, keepdim=True)
    return Predictions(best, shares, found.passes, found.passes_wanted)


class _Tester:
    """Adds up the softmax outputs of one run's passes, by point, in ``sums`` float32 (P, num_classes).

    Every pass adds to a point once at most, and passes are added in their order, so that the sums are always the same.
    """

    def __init__(
        self,
        inference: Inference,
        sample: Sample,
        procedure: InferenceProcedure,
        tile_voxels: int,
        num_passes: int,
        run: RunContext,
    ):
        self.inference = inference
        self.sample = sample
        self.procedure = procedure
        self.tile_voxels = tile_voxels
        self.batch_voxels = min(BATCH_VOXELS, tile_voxels) if inference.device.type == "cpu" else tile_voxels
        self.run = run
        self.sums = torch.zeros((len(sample["coord"]), inference.num_classes), device=inference.device)
        self.plans = _Plans(inference, run)
        self.progress = Progress(num_passes, inference.device, run)
        self.waiting: list[_Fragment] = []  # for a batch that several views share

    def add(self, group: Sequence[tuple[View, int]]) -> None:
        """Add the views of equal voxels in ``group``, each in so many fragments; few may wait for the next views."""
        with self.run.stage("voxelize"):
            viewed = [
                (*views.apply_view(self.sample, view.steps, self.procedure), view.weight, count)
                for view, count in group
            ]
            voxels = viewed[0][1]
            grid_coord = voxels.grid_coord.index_select(0, voxels.first_points())
            tiles = list(tiling.cut(grid_coord, self.tile_voxels))
        num_fragments, num_voxels = sum(count for _, count in group), len(voxels)
        fragments = self._fragments(viewed, grid_coord)
        if tiles[0].is_part:
            self._add_tiles(fragments, grid_coord, tiles)
            return
        if sum(len(each.points) for each in self.waiting) + num_fragments * num_voxels > self.batch_voxels:
            self._add_waiting()
        if num_fragments * num_voxels <= self.batch_voxels:
            self.waiting += fragments
            return
        num_batches = -(-num_fragments // max(1, self.batch_voxels // num_voxels))
        for batch in _batches(fragments, -(-num_fragments // num_batches)):  # of few sizes, so that plans are few
            self._add_batch(batch)

    def finish(self) -> None:
        """Add what waits, and wait for the device."""
        self._add_waiting()
        self.progress.finish()

    def _add_waiting(self) -> None:
        if self.waiting:
            self._add_batch(self.waiting)
            self.waiting = []

    def _add_tiles(self, fragments: Iterable[_Fragment], grid_coord: Tensor, tiles: Sequence[Tile]) -> None:
        """Add large fragments tile by tile, so that one tile's plan is held at a time."""
        weight = self.sums.new_zeros(len(grid_coord))
        for tile in tiles:
            weight.index_add_(0, tile.rows, tile.weights)
        for held in _batches(fragments, HELD_VOXELS // len(grid_coord)):
            for tile in tiles:
                voxels = grid_coord.index_select(0, tile.rows) - tile.origin
                shares = tile.weights / weight.index_select(0, tile.rows)
                parts = (fragment.within(tile, voxels, shares) for fragment in held)
                for batch in _batches(parts, self.batch_voxels // len(voxels)):
                    self._add_batch(batch, 1 / len(tiles))

    def _fragments(self, viewed: Iterable[tuple[Sample, Voxels, int, int]], grid_coord: Tensor) -> Iterator[_Fragment]:
        """The first so many fragments of each view, with voxels ``grid_coord`` (V, 3)."""
        for sample, voxels, weight, count in viewed:
            for points in islice(voxels.fragments(), count):
                with self.run.stage("voxelize"):
                    coord, feat = represent(sample, voxels, points, grid_coord, self.procedure)
                    fragment = _Fragment(grid_coord, points, coord, feat, weight)
                yield fragment

    def _add_batch(self, batch: Sequence[_Fragment], share: float = 1) -> None:
        """Add the outputs of one pass, or of halves of it if memory does not suffice.

        ``share`` is that of the fragments in their clouds, 1 if these are not tiled.
        """
        try:
            probabilities = self._probabilities(batch)
        except Exception as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
        else:
            with self.run.stage("project"):
                for fragment, said in zip(batch, probabilities, strict=True):
                    self.sums.index_add_(0, fragment.points, said * fragment.weight)
            self.progress.add(share * len(batch))
            return
        self.plans.forget()  # out of the handler, where the error no longer holds what the pass had
        middle = len(batch) // 2
        self._add_batch(batch[:middle], share)
        self._add_batch(batch[middle:], share)

    def _probabilities(self, batch: Sequence[_Fragment]) -> Sequence[Tensor]:
        """float32 (V, num_classes) for each fragment of ``batch``."""
        plan = self.plans.of(batch)
        logits = self.inference.logits(joined([fragment.feat for fragment in batch]), plan, self.run)
        return logits.softmax(1).split([len(fragment.points) for fragment in batch])


class _Plans:
    """Plans of batches. Batches with equal voxels share one, unless the network plans for positions too."""

    def __init__(self, inference: Inference, run: RunContext):
        self.inference = inference
        self.run = run
        self.voxels: Tensor | None = None
        self.kept: dict[int, Any] = {}

    def forget(self) -> None:
        """Give back the memory of what is kept."""
        self.kept = {}

    def of(self, batch: Sequence[_Fragment]) -> Any:
        """The plan of a batch."""
        voxels = batch[0].voxels
        if self.voxels is not voxels:
            self.voxels, self.kept = voxels, {}
        clouds = [(fragment.voxels, fragment.coord) for fragment in batch]
        if self.inference.plans_positions or any(fragment.voxels is not voxels for fragment in batch):
            return self.inference.plan(clouds, self.run)
        if len(batch) not in self.kept:
            self.kept[len(batch)] = self.inference.plan(clouds, self.run)
        return self.kept[len(batch)]


def _fill(sums: Tensor, voxels: Voxels) -> int:
    """Give the points that were in no pass the sums of their voxel's others; how many they are."""
    missed = (sums.amax(1) == 0).nonzero().flatten()
    sums[missed] = torch.segment_reduce(sums[voxels.order], "sum", lengths=voxels.counts)[voxels.inverse[missed]]
    return len(missed)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of up to ``size`` items, or of one if ``size`` is less."""
    rest = iter(items)
    while batch := list(islice(rest, max(1, size))):
        yield batch
