"""The views of upstream's tester: how each changes a cloud, which are alike, how many passes each gets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.errors import BadCloud

from . import transforms
from .prepare import grid
from .procedure import InferenceProcedure, Transform
from .sample import Sample, per_point
from .usable_points import VOXELS_A_SIDE
from .voxelize import Voxels

FACTOR = -0x61C8864680B583EB  # odd, of the golden ratio: bits of a product depend on all lower ones
ALIKE_RTOL, ALIKE_ATOL = 1e-6, 1e-9  # sine and cosine of multiples of pi are off by 1e-16


@dataclass(frozen=True)
class View:
    """One view of ``aug_transform``, and those that equal it.

    Attributes:
        steps: its transforms.
        weight: how many views of the procedure it stands for.
        num_fragments: points in its fullest voxel, that is passes until every point was in one.
        points_key: equal for views that put every point into the same voxel.
        voxels_key: equal for views with the same voxels.
    """

    steps: Sequence[Transform]
    weight: int
    num_fragments: int
    points_key: int
    voxels_key: tuple[int, int]


def apply_view(sample: Sample, steps: Sequence[Transform], procedure: InferenceProcedure) -> tuple[Sample, Voxels]:
    """The sample after the transforms of a view, and its voxels. Raises BadModel if the view is drawn at random."""
    seen = transforms.apply(steps, sample)
    return seen, grid(seen, procedure)


def distinct(sample: Sample, procedure: InferenceProcedure) -> list[View]:
    """The views of the procedure, each once, in their order; the cloud as it is if the procedure has none.

    Two views are one if they put every point into the same voxel and every column agrees but for rounding. Raises
    BadCloud if one is too high.
    """
    found: list[View] = []
    for steps in procedure.aug_transform or [[]]:
        seen, voxels = apply_view(sample, steps, procedure)
        places = voxels.grid_coord
        of_points, of_voxels = _hash(places), _hash(places.index_select(0, voxels.first_points()))
        told = torch.stack([places[:, 2].amax(), voxels.counts.amax(), of_points, of_voxels])
        highest, fullest, points_key, voxels_key = told.tolist()  # waits for the device, once a view
        check_height(highest)
        view = View(steps, 1, fullest, points_key, (len(voxels), voxels_key))
        for place, known in enumerate(found):
            if known.points_key == view.points_key and _alike(seen, transforms.apply(known.steps, sample)):
                found[place] = replace(known, weight=known.weight + 1)
                break
        else:
            found.append(view)
    return found


def check_height(highest: int) -> None:
    """Raise BadCloud if a view whose ``highest`` voxel this is, from 0, is too high."""
    if highest >= VOXELS_A_SIDE:
        raise BadCloud(f"A view of the model is {highest + 1} voxels high; at most {VOXELS_A_SIDE} are taken.")


def allot(views: Sequence[View], max_passes: int) -> list[int]:
    """Fragments to run of each view, ``max_passes`` in all: the first of every view, then the second, and so on."""
    given = [0] * len(views)
    left = max_passes
    for number in range(max(view.num_fragments for view in views)):
        for place, view in enumerate(views):
            if left and number < view.num_fragments:
                given[place] += 1
                left -= 1
    return given


def _hash(grid_coord: Tensor) -> Tensor:
    """A number of 64 bits for rows int64 (M, 3) in their order; equal for others by chance alone."""
    x, y, z = grid_coord.unbind(1)
    mixed = ((x * FACTOR + y) * FACTOR + z) * FACTOR + torch.arange(len(x), device=x.device)  # wraps around
    for shift in (32, 29):
        mixed = (mixed ^ mixed >> shift) * FACTOR
    return (mixed ^ mixed >> 32).sum()


def _alike(first: Sample, second: Sample) -> bool:
    names = per_point(first)
    if names != per_point(second):
        return False
    pairs = [(first[name], second[name]) for name in names]
    near = [((one - other).abs() <= ALIKE_ATOL + ALIKE_RTOL * other.abs()).all() for one, other in pairs]
    return bool(torch.stack(near).all())
