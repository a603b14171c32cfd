"""A tile whose points have a true and a predicted class."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """N points of one file.

    Attributes:
        name: of the file.
        truth: integers (N,), the true code of each point.
        predicted: integers (N,), the label that it got.
        xyz_m: float64 (N, 3), metres.
        is_asprs: whether both are codes of LAS.
        confidence: float (N,), the probability from 0 to 1 that the prediction gives its label, NaN for none; None if
            no point has one.
        height_m: float (N,), height above ground; None if no file states it.
        notes: what is to be said of the tile, one sentence each.
    """

    name: str
    truth: np.ndarray
    predicted: np.ndarray
    xyz_m: np.ndarray
    is_asprs: bool = True
    confidence: np.ndarray | None = None
    height_m: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.truth)
