"""``smooth``: the probabilities of a row become the mean of those of the rows around it."""

from collections.abc import Callable

import torch
from pointops import knn_query
from torch import Tensor

from app.options import Options

from .scene import Scene

MAX_NEIGHBOURS = 64
STEP_SCALE_M = 0.2  # of height
COLOR_SCALE = 30.0  # of 255, over all three channels
TURN_SCALE = 0.1  # of 1 - cos between normals: half the weight at 21 degrees


def apply(scene: Scene, options: Options) -> None:
    """Average the probabilities of rows over those around them, and label all points anew."""
    points = scene.row_points
    rows = (points < len(scene)).nonzero().flatten()
    points = points[rows]
    colors, normals = (None if each is None else each[points] for each in (scene.rgb, scene.normals))
    mean = smoothed(
        scene.probabilities[rows],
        scene.xyz[points],
        options.smooth or MAX_NEIGHBOURS,
        options.smooth_radius_m or torch.inf,
        colors,
        normals,
        scene.check_cancelled,
    )
    scene.predict(scene.probabilities.index_copy(0, rows, mean))


def smoothed(
    probabilities: Tensor,
    coord: Tensor,
    neighbours: int = MAX_NEIGHBOURS,
    radius_m: float = torch.inf,
    colors: Tensor | None = None,
    normals: Tensor | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> Tensor:
    """The means (R, C) of ``probabilities`` float32 (R, C) over the nearest rows of each, itself among them.

    They are the ``neighbours`` nearest, at most ``MAX_NEIGHBOURS``, by ``coord`` float32 (R, 3) in metres, and of these
    no farther than ``radius_m``. So that edges stay, rows count less the more they differ from the row: by
    exp(-d² / 2 s²) of the difference d in height, s = 0.2 m, and between ``colors`` uint8 (R, 3), s = 30, and by
    exp(-(1 - |cos|) / 0.1) of the angle between ``normals`` float32 (R, 3).
    """
    if not len(coord):
        return probabilities
    number = min(neighbours, MAX_NEIGHBOURS, len(coord))
    rows, distance_m = knn_query(number, coord.contiguous(), torch.full((1,), len(coord), device=coord.device))
    colors = None if colors is None else colors.float()
    total, weights = probabilities.clone(), probabilities.new_ones((len(coord), 1))
    for place in range(number):
        check_cancelled()
        row = rows[:, place].long()
        is_other = row != torch.arange(len(row), device=row.device)
        weight = (is_other & (row >= 0) & (distance_m[:, place] <= radius_m)).float()
        row = row.clamp_(min=0)
        weight *= (coord[row, 2] - coord[:, 2]).square_().div_(-2 * STEP_SCALE_M**2).exp_()
        if colors is not None:
            weight *= (colors[row] - colors).square_().sum(1).div_(-2 * COLOR_SCALE**2).exp_()
        if normals is not None:
            weight *= (normals[row] * normals).sum(1).abs_().clamp_(max=1).sub_(1).div_(TURN_SCALE).exp_()
        total.addcmul_(probabilities[row], weight[:, None])
        weights += weight[:, None]
    return total.div_(weights)
