"""Intervals of figures over tiles: how far they would be others had other tiles of that kind been taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.confusion import Confusion

LEVEL = 0.95
FIGURES = ("iou", "precision", "recall", "f1", "mean_iou", "accuracy", "kappa")
CHUNK = 1 << 22  # numbers of resampled confusions at a time


@dataclass(frozen=True)
class Interval:
    """Where the middle 95 % of the resampled figures lie, each () or (K,); NaN where no resample has one."""

    low: np.ndarray
    high: np.ndarray


def intervals(tiles: Sequence[Confusion], resamples: int, seed: int) -> dict[str, Interval]:
    """By figure of ``FIGURES``, from ``resamples`` draws of as many ``tiles``, with replacement, pooled (percentile
    bootstrap); none for fewer than two tiles or no resamples.

    B. Efron, R. Tibshirani, An introduction to the bootstrap, 1993, chapter 13.
    """
    num_tiles = len(tiles)
    if num_tiles < 2 or resamples < 1:
        return {}
    counts = np.stack([each.counts for each in tiles]).reshape(num_tiles, -1)
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // max(num_tiles, counts.shape[1]))
    found: dict[str, list[np.ndarray]] = {name: [] for name in FIGURES}
    for start in range(0, resamples, step):
        drawn = rng.multinomial(num_tiles, np.full(num_tiles, 1 / num_tiles), min(step, resamples - start))
        samples = Confusion(tiles[0].names, (drawn @ counts).reshape(len(drawn), *tiles[0].counts.shape))
        for name in FIGURES:
            found[name].append(getattr(samples, name))
    return {name: _middle(np.concatenate(values)) for name, values in found.items()}


def _middle(values: np.ndarray) -> Interval:
    """The interval of ``values`` (S,) or (S, K), without those that are NaN."""
    columns = values.reshape(len(values), -1)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.full((2, columns.shape[1]), np.nan)
    for place, column in enumerate(columns.T):
        known = column[~np.isnan(column)]
        if len(known):
            low[place], high[place] = np.quantile(known, tails)
    return Interval(low.reshape(values.shape[1:]), high.reshape(values.shape[1:]))
