"""``smooth``: the probabilities of a row become the mean of those of the rows around it."""

import math
from collections.abc import Callable

import torch
from pointops import knn_query
from torch import Tensor

from app.options import Options

from .scene import Scene

MAX_NEIGHBOURS = 64
FEW = 16  # are looked for first where a radius says how many count
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
    colors = None if colors is None else colors.float()
    mean = torch.empty_like(probabilities)
    for rows, near, distance_m in _neighbours(
        coord.contiguous(), min(neighbours, MAX_NEIGHBOURS, len(coord)), radius_m
    ):
        number = torch.searchsorted(distance_m, distance_m.new_full((len(rows), 1), radius_m), right=True)[:, 0]
        order = number.argsort(descending=True, stable=True)  # so that those with one more are the first
        ends = (len(rows) - number.bincount(minlength=near.shape[1] + 1).cumsum(0)).tolist()  # waits for the device
        rows = rows[order]
        total, weights = probabilities[rows], probabilities.new_ones((len(rows), 1))
        z = coord[rows, 2]
        own_colors, own_normals = (None if each is None else each[rows] for each in (colors, normals))
        for place, end in enumerate(ends[:-1]):
            check_cancelled()
            theirs = near[order[:end], place].long()
            weight = (theirs != rows[:end]).float()
            weight *= (coord[theirs, 2] - z[:end]).square_().div_(-2 * STEP_SCALE_M**2).exp_()
            if colors is not None and own_colors is not None:
                weight *= (colors[theirs] - own_colors[:end]).square_().sum(1).div_(-2 * COLOR_SCALE**2).exp_()
            if normals is not None and own_normals is not None:
                turned = (normals[theirs] * own_normals[:end]).sum(1).abs_().clamp_(max=1)
                weight *= turned.sub_(1).div_(TURN_SCALE).exp_()
            total[:end].addcmul_(probabilities[theirs], weight[:, None])
            weights[:end] += weight[:, None]
        mean[rows] = total.div_(weights)
    return mean


def _neighbours(coord: Tensor, number: int, radius_m: float) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Parts of the rows of ``coord`` (R, 3): int64 (S,), the nearest rows of each (S, K), nearest first, and how far
    they are (S, K). K is ``number``, or less where no more are within ``radius_m``."""
    rows, ends = torch.arange(len(coord), device=coord.device), torch.full((1,), len(coord), device=coord.device)
    if number > FEW and math.isfinite(radius_m):
        near, distance_m = knn_query(FEW, coord, ends)
        is_crowded = distance_m[:, -1] <= radius_m
        few, many = (~is_crowded).nonzero().flatten(), is_crowded.nonzero().flatten()
        if len(few) > len(many):
            more = knn_query(number, coord, ends, coord[many], torch.full_like(ends, len(many)))
            return [(few, near[few], distance_m[few]), (many, *more)]
    return [(rows, *knn_query(number, coord, ends))]
