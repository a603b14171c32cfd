"""The views of upstream's tester: how each changes a cloud, which are alike, how many passes each gets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from torch import Tensor

from app.errors import BadCloud

from . import transforms
from .features import VOXELS_A_SIDE
from .prepare import grid
from .procedure import InferenceProcedure, Transform
from .sample import Sample, per_point
from .voxelize import Voxels

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
    points_key: bytes
    voxels_key: bytes


def apply_view(sample: Sample, steps: Sequence[Transform], procedure: InferenceProcedure) -> tuple[Sample, Voxels]:
    """The sample after the transforms of a view, and its voxels. Raises BadModel if the view is drawn at random."""
    seen = transforms.apply(steps, sample)
    voxels = grid(seen, procedure)
    height = int(voxels.grid_coord[:, 2].max()) + 1
    if height > VOXELS_A_SIDE:
        raise BadCloud(f"A view of the model is {height} voxels high; at most {VOXELS_A_SIDE} are taken.")
    return seen, voxels


def distinct(sample: Sample, procedure: InferenceProcedure) -> list[View]:
    """The views of the procedure, each once, in their order; the cloud as it is if the procedure has none.

    Two views are one if they put every point into the same voxel and every column agrees but for rounding.
    """
    found: list[View] = []
    for steps in procedure.aug_transform or [[]]:
        seen, voxels = apply_view(sample, steps, procedure)
        view = View(
            steps,
            1,
            int(voxels.counts.max()),
            _key(voxels.grid_coord),
            _key(voxels.grid_coord[voxels.first_points()]),
        )
        for place, known in enumerate(found):
            if known.points_key == view.points_key and _alike(seen, transforms.apply(known.steps, sample)):
                found[place] = replace(known, weight=known.weight + 1)
                break
        else:
            found.append(view)
    return found


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


def _key(grid_coord: Tensor) -> bytes:
    return blake2b(grid_coord.numpy().tobytes()).digest()


def _alike(first: Sample, second: Sample) -> bool:
    names = per_point(first)
    return names == per_point(second) and all(
        np.allclose(first[name], second[name], rtol=ALIKE_RTOL, atol=ALIKE_ATOL) for name in names
    )
