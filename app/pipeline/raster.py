"""Filters of rasters by windows of w by w cells, w odd, in which nothing beyond the raster counts.

A window is a product of two intervals, so the filters work along one axis after the other.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def eroded(raster: Tensor, width: int) -> Tensor:
    """The least value in the window around each cell of ``raster`` (R, C)."""
    for axis in (0, 1):
        raster = _least_ahead(_framed(raster, width, axis), width, axis)
    return raster


def dilated(raster: Tensor, width: int) -> Tensor:
    """The greatest value in the window around each cell of ``raster`` (R, C)."""
    return eroded(-raster, width).neg_()


def second_lowest(raster: Tensor, width: int) -> Tensor:
    """The least value but one in the window around each cell of ``raster`` (R, C): the least, if two cells have it."""
    least, second = raster, torch.full_like(raster, torch.inf)
    for axis in (0, 1):
        size = raster.shape[axis]
        lows, seconds = _framed(least, width, axis), _framed(second, width, axis)
        least, second = lows.narrow(axis, 0, size), seconds.narrow(axis, 0, size)
        for step in range(1, width):
            low, other = lows.narrow(axis, step, size), seconds.narrow(axis, step, size)
            second = torch.minimum(second, other).minimum(torch.maximum(least, low))
            least = torch.minimum(least, low)
    return second


def windowed_sum(raster: Tensor, width: int, axis: int) -> Tensor:
    """The sum of the window along ``axis`` around each cell of ``raster``."""
    size, total = raster.shape[axis], raster.clone()
    for step in range(1, min(width // 2 + 1, size)):
        total.narrow(axis, step, size - step).add_(raster.narrow(axis, 0, size - step))
        total.narrow(axis, 0, size - step).add_(raster.narrow(axis, step, size - step))
    return total


def _framed(raster: Tensor, width: int, axis: int) -> Tensor:
    """``raster`` with as much infinity on both sides as windows of ``width`` reach beyond it."""
    beyond = [0, 0, 0, 0]
    beyond[2 - 2 * axis : 4 - 2 * axis] = [width // 2] * 2
    return pad(raster, beyond, value=torch.inf)


def _least_ahead(values: Tensor, width: int, axis: int) -> Tensor:
    """The least of ``width`` values from each on, where there are so many; windows are doubled until they are wide."""

    def joined(values: Tensor, step: int) -> Tensor:
        size = values.shape[axis] - step
        return torch.minimum(values.narrow(axis, 0, size), values.narrow(axis, step, size))

    span = 1
    while 2 * span <= width:
        values = joined(values, span)
        span *= 2
    return joined(values, width - span) if span < width else values
