"""``mode=exact``: upstream's tester, the sum of softmax outputs over every fragment of every view.

Fragment i holds point i modulo the count of every voxel, so all fragments of a view have the same voxels. What a
network plans for voxels alone is planned once, for views with equal voxels too. Fragments run in batches, each as a
cloud of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from . import tiling, views
from .inference import Inference
from .out_of_memory import is_out_of_memory
from .predictions import Predictions
from .prepare import represent
from .procedure import InferenceProcedure
from .run_context import RunContext
from .sample import Sample
from .views import View
from .voxelize import Voxels

BATCH_VOXELS = 100_000
HELD_VOXELS = 16_000_000  # of fragments that are kept with their features while the tiles of a large cloud are run

Item = TypeVar("Item")


@dataclass(frozen=True)
class Votes:
    """Sums of softmax outputs over the passes, for P points.

    Attributes:
        sums: float32 (P, num_classes), softmax outputs, summed over the passes that a point was in.
        passes: of the network, made.
        passes_wanted: those that reach every point in every view; views that are alike count once.
    """

    sums: Tensor
    passes: int
    passes_wanted: int


@dataclass(frozen=True)
class _Fragment:
    """``points`` (V,), one of each voxel, with positions and features; how many views it ``stands_for``."""

    points: Tensor
    coord: Tensor
    feat: Tensor
    stands_for: int


def vote(
    inference: Inference,
    sample: Sample,
    procedure: InferenceProcedure,
    tile_voxels: int,
    max_passes: int,
    run: RunContext,
) -> Votes:
    """The votes on the points of a staged ``sample``.

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
    sums = torch.zeros((len(sample["coord"]), inference.num_classes), device=inference.device)
    made = 0.0
    for group in groups.values():
        for passes in _add(sums, group, sample, procedure, inference, tile_voxels, run):
            made += passes
            run.on_passes(made, sum(allotted))
    votes = Votes(sums, sum(allotted), sum(view.num_fragments for view in found))
    if votes.passes < votes.passes_wanted:
        with run.stage("project"):
            num_missed = _fill(sums, views.apply_view(sample, found[0].steps, procedure)[1])
        run.warnings.append(
            f"mode=exact made {votes.passes:,} of {votes.passes_wanted:,} passes (max_passes); "
            f"points that were in none and got the mean of their voxel: {num_missed:,}."
        )
    return votes


def predictions(votes: Votes) -> Predictions:
    """Of the points: the class with most votes and the share of each; ``votes.sums`` are divided in place."""
    best = votes.sums.argmax(1)
    shares = votes.sums
    shares /= shares.sum(1, keepdim=True)
    return Predictions(best, shares, votes.passes, votes.passes_wanted)


def _add(
    sums: Tensor,
    group: Sequence[tuple[View, int]],
    sample: Sample,
    procedure: InferenceProcedure,
    inference: Inference,
    tile_voxels: int,
    run: RunContext,
) -> Iterator[float]:
    """Add to ``sums`` the softmax outputs of the views of equal voxels in ``group``, each in so many fragments.

    Yields the passes that each step took, parts of passes if a cloud is tiled. Large clouds run tile by tile, so
    that one tile's plan is held at a time.
    """
    with run.stage("voxelize"):
        viewed = [(*views.apply_view(sample, view.steps, procedure), view.weight, count) for view, count in group]
        voxels = viewed[0][1]
        grid_coord = voxels.grid_coord.index_select(0, voxels.first_points())
        tiles = list(tiling.cut(grid_coord, tile_voxels))
        share = sums.new_zeros(len(voxels))
        for tile in tiles:
            share[tile.rows] += tile.weights
    plans = _Plans(inference, run)
    for held in _batches(_fragments(viewed, procedure, run), HELD_VOXELS // len(voxels)):
        for tile in tiles:
            voxels_of_tile = grid_coord[tile.rows] - tile.origin
            weights = (tile.weights / share[tile.rows])[:, None]
            for batch in _batches(held, min(BATCH_VOXELS, tile_voxels) // len(tile.rows)):
                said = _probabilities(inference, plans, batch, voxels_of_tile, tile.rows, run)
                with run.stage("project"):
                    for fragment, probabilities in zip(batch, said, strict=True):
                        sums[fragment.points[tile.rows]] += probabilities * (weights * fragment.stands_for)
                yield len(batch) / len(tiles)


def _probabilities(
    inference: Inference, plans: "_Plans", batch: list[_Fragment], voxels: Tensor, rows: Tensor, run: RunContext
) -> list[Tensor]:
    """float32 (V, num_classes) for each fragment of ``batch``, half of them at a time if memory does not suffice."""
    try:
        return _pass(inference, plans, batch, voxels, rows, run)
    except Exception as error:
        if len(batch) == 1 or not is_out_of_memory(error):
            raise
    plans.forget()  # out of the handler, where the error no longer holds what the pass had
    middle = len(batch) // 2
    halves = (batch[:middle], batch[middle:])
    return [said for half in halves for said in _probabilities(inference, plans, half, voxels, rows, run)]


def _pass(
    inference: Inference, plans: "_Plans", batch: list[_Fragment], voxels: Tensor, rows: Tensor, run: RunContext
) -> list[Tensor]:
    """float32 (V, num_classes) for each fragment of ``batch``."""
    plan = plans.of([(voxels, fragment.coord[rows]) for fragment in batch])
    feat = torch.cat([fragment.feat[rows] for fragment in batch])
    logits = inference.logits(feat, plan, run)
    return list(logits.softmax(1).split(len(rows)))


def _fragments(
    viewed: Iterable[tuple[Sample, Voxels, int, int]], procedure: InferenceProcedure, run: RunContext
) -> Iterator[_Fragment]:
    """The first so many fragments of each view."""
    for sample, voxels, weight, count in viewed:
        for points in islice(voxels.fragments(), count):
            with run.stage("voxelize"):
                fragment = _Fragment(points, *represent(sample, voxels, points, procedure), weight)
            yield fragment


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

    def of(self, clouds: list[tuple[Tensor, Tensor]]) -> Any:
        """The plan of a batch of clouds with equal voxels."""
        voxels = clouds[0][0]
        if self.inference.plans_positions:
            return self.inference.plan(clouds, self.run)
        if self.voxels is None or not torch.equal(self.voxels, voxels):
            self.voxels, self.kept = voxels, {}
        if len(clouds) not in self.kept:
            self.kept[len(clouds)] = self.inference.plan(clouds, self.run)
        return self.kept[len(clouds)]


def _fill(sums: Tensor, voxels: Voxels) -> int:
    """Give the points without a vote the sum of their voxel's; how many they are."""
    missed = (sums.amax(1) == 0).nonzero().flatten()
    sums[missed] = torch.segment_reduce(sums[voxels.order], "sum", lengths=voxels.counts)[voxels.inverse[missed]]
    return len(missed)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of up to ``size`` items, or of one if ``size`` is less."""
    rest = iter(items)
    while batch := list(islice(rest, max(1, size))):
        yield batch
