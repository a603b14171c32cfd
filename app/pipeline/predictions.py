"""What a mode says of the points of a cloud, before it becomes an answer."""

from dataclasses import dataclass

import numpy as np

from app.networks.instances import Instances


@dataclass(frozen=True)
class Predictions:
    """What is thought of M usable points, in R rows that several of them may share.

    Attributes:
        rows: int64 (M,), the usable points of the cloud.
        of_point: int64 (M,), the row of ``best`` and ``probabilities`` that holds for each, -1 where none does.
        best: int64 (R,), the likeliest class; 0 where the model knows none.
        probabilities: float32 (R, num_classes).
        passes: of the network, made.
        passes_wanted: those that the mode is made of.
        instances: of the rows, where they were asked for.
        features: float32 (R, C), where they were asked for.
    """

    rows: np.ndarray
    of_point: np.ndarray
    best: np.ndarray
    probabilities: np.ndarray
    passes: int = 1
    passes_wanted: int = 1
    instances: Instances | None = None
    features: np.ndarray | None = None

    def for_points(self, values: np.ndarray, num_points: int, unusable: int) -> np.ndarray:
        """``values`` (R, …) of the rows for every point of the cloud, (num_points, …); ``unusable`` for the others."""
        known = self.of_point >= 0
        out = np.full((num_points, *values.shape[1:]), unusable, values.dtype)
        out[self.rows[known]] = values[self.of_point[known]]
        return out

    @classmethod
    def of_nothing(cls, num_classes: int) -> "Predictions":
        """Of a cloud without a usable point."""
        none = np.empty(0, np.int64)
        return cls(none, none, none, np.empty((0, num_classes), np.float32), 0, 0)
