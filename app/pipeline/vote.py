"""``mode=vote``: the mean of several passes over a cloud, each like that of ``mode=fast`` but over another view.

View i is the config's view i, of those of its tester in turn, and its grid is shifted by another part of a voxel. Point
i of each voxel, modulo their count, represents it. So voxels cut the cloud elsewhere in each view, and what one of them
mixes another tells apart. The first view is that of ``mode=fast`` if the config's first one changes nothing.
"""

from dataclasses import replace

import numpy as np
import torch

from app.clouds.fields import CLASSES

from . import prepare, single_pass, views
from .inference import Inference
from .predictions import Predictions
from .procedure import InferenceProcedure, Transform
from .progress import Progress
from .projection import Projection
from .run_context import RunContext
from .sample import Sample

VIEWS = 4
STEPS = 0.8191725134, 0.6710436067, 0.5497004780
"""Of a voxel along x, y and z, from one view's grid to the next: 1 / g, 1 / g², 1 / g³ with g⁴ = g + 1, whose multiples
fill a voxel evenly, however many are taken (Roberts 2018, The unreasonable effectiveness of quasirandom sequences)."""


def views_of(procedure: InferenceProcedure) -> list[list[Transform]]:
    """The transforms of each of the ``VIEWS`` views."""
    stated = procedure.aug_transform or [[]]
    edges = np.broadcast_to(np.asarray(procedure.grid_size, np.float64), 3)
    found = []
    for number in range(VIEWS):
        by = (number * np.array(STEPS) % 1 * edges).tolist()
        shift = {"type": "RandomShift", "shift": [(axis, axis) for axis in by]}
        found.append([*stated[number % len(stated)], shift])
    return found


def predict(
    inference: Inference,
    sample: Sample,
    procedure: InferenceProcedure,
    tile_voxels: int,
    max_passes: int,
    run: RunContext,
    *,
    with_votes: bool = False,
) -> Predictions:
    """The mean predictions for the points of ``sample`` over the first ``max_passes`` views, one after the other.

    The procedure's transforms were applied to ``sample``. ``run.warnings`` says so if those are not all views. Raises
    BadModel if a view is not served or left to chance, and BadCloud if one is too high.
    """
    num_points, device = len(sample["coord"]), inference.device
    sums = torch.zeros((num_points, inference.num_classes), device=device)
    votes = torch.zeros_like(sums, dtype=torch.uint8) if with_votes else None
    found = views_of(procedure)[:max_passes]
    progress = Progress(len(found), device, run)
    for number, steps in enumerate(found):
        with run.stage("voxelize"):
            seen, voxels = views.apply_view(sample, steps, procedure)
            views.check_height(int(voxels.grid_coord[:, 2].amax()))  # waits for the device
            of_points = Projection(voxels.inverse, has_gaps=False)
            ready = prepare.network_input(seen, voxels, voxels.fragment(number), of_points, procedure)
        pass_ = single_pass.predict(inference, ready, CLASSES, tile_voxels, run)
        with run.stage("project"):
            sums += of_points.project(pass_.probabilities, 0)
            if votes is not None:
                best = of_points.project(pass_.best, 0)[:, None]
                votes.scatter_add_(1, best, torch.ones_like(best, dtype=torch.uint8))
        progress.add(1)
    progress.finish()
    if len(found) < VIEWS:
        run.warnings.append(f"mode=vote made {len(found)} of {VIEWS} passes (max_passes).")
    mean = Predictions.of_probabilities(sums.div_(len(found)))
    return replace(mean, passes=len(found), passes_wanted=VIEWS, votes=votes)
