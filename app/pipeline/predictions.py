"""Predictions of voxels or points, before they are projected to all points of a cloud."""

from dataclasses import dataclass

import numpy as np

from app.networks.instances import Instances


@dataclass(frozen=True)
class Predictions:
    """Predictions of R rows: voxels, or points that the procedure keeps.

    Attributes:
        best: int64 (R,), the likeliest class; 0 if the model knows none.
        probabilities: float32 (R, num_classes).
        passes: of the network, made.
        passes_wanted: those that the mode is made of.
        instances: of the rows, if they were asked for.
        features: float32 (R, C), if they were asked for.
    """

    best: np.ndarray
    probabilities: np.ndarray
    passes: int = 1
    passes_wanted: int = 1
    instances: Instances | None = None
    features: np.ndarray | None = None

    @classmethod
    def of_probabilities(cls, probabilities: np.ndarray) -> "Predictions":
        """Of one pass that gave ``probabilities`` float32 (R, num_classes)."""
        has_classes = probabilities.shape[1] > 0
        best = probabilities.argmax(1) if has_classes else np.zeros(len(probabilities), np.int64)
        return cls(best, probabilities)

    @classmethod
    def of_nothing(cls, num_classes: int) -> "Predictions":
        """Of a cloud without a usable point."""
        return cls(np.empty(0, np.int64), np.empty((0, num_classes), np.float32), 0, 0)
