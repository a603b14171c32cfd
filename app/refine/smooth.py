"""``smooth``: the probabilities of a row become the mean of those of the rows around it."""

import math
from collections.abc import Callable, Iterator

import torch
from pointops import knn_query
from torch import Tensor
from torch.nn.functional import embedding_bag

from app.options import Options

from .scene import Scene

MAX_NEIGHBOURS = 64
FEW = 16  # are looked for first where a radius says how many count
BLOCK_ROWS = 1 << 14  # are averaged at a time, so that their neighbours stay in the cache
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
    exp(-d² / 2 s²) of the difference d in height, s = 0.2 m, and between ``colors`` (R, 3), 0 to 255, s = 30,
    and by exp(-(1 - |cos|) / 0.1) of the angle between ``normals`` float32 (R, 3). A row without a color (NaN) or a
    normal (NaN, or of no length) differs from none in that.
    """
    if not len(coord):
        return probabilities
    colors = None if colors is None else colors.float()
    directions = None if normals is None else normals / normals.norm(dim=1, keepdim=True)
    mean = torch.empty_like(probabilities)
    for rows, near, distance_m in _blocks(coord.contiguous(), min(neighbours, MAX_NEIGHBOURS, len(coord)), radius_m):
        check_cancelled()
        unlike = _beside(coord[:, 2:], rows, near).squeeze(2).square_().div_(2 * STEP_SCALE_M**2)
        if colors is not None:
            step = _beside(colors, rows, near).square_().sum(2)
            unlike += step.div_(2 * COLOR_SCALE**2).nan_to_num_(0)
        if directions is not None:
            cosine = (_of(directions, near) * directions[rows, None]).sum(2).abs_()
            unlike += (1 - cosine).clamp_(min=0).div_(TURN_SCALE).nan_to_num_(0)
        weights = unlike.neg_().exp_().masked_fill_((near == rows[:, None]) | (distance_m > radius_m), 0)
        total = embedding_bag(near, probabilities, mode="sum", per_sample_weights=weights)
        mean[rows] = total.add_(probabilities[rows]).div_(1 + weights.sum(1, keepdim=True))
    return mean


def _of(values: Tensor, near: Tensor) -> Tensor:
    """(S, K, D), the ``values`` (R, D) of rows ``near`` int32 (S, K)."""
    return values.index_select(0, near.flatten()).view(*near.shape, -1)


def _beside(values: Tensor, rows: Tensor, near: Tensor) -> Tensor:
    """(S, K, D), how much more ``values`` (R, D) are at rows ``near`` int32 (S, K) than at ``rows`` int64 (S,)."""
    return _of(values, near).sub_(values[rows, None])


def _blocks(coord: Tensor, number: int, radius_m: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """What ``_neighbours`` gives, some rows at a time, without columns in which nothing is within ``radius_m``."""
    for part in _neighbours(coord, number, radius_m):
        for rows, near, distance_m in zip(*(each.split(BLOCK_ROWS) for each in part), strict=True):
            if not len(rows):
                continue
            most = near.shape[1]
            if math.isfinite(radius_m):
                most = int((distance_m <= radius_m).sum(1).amax())  # waits for the device
            yield rows, near[:, :most].contiguous(), distance_m[:, :most]


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
