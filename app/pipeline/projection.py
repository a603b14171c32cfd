"""Projection of values from voxels, or from the points that a procedure keeps, to all points of a cloud."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Projection:
    """Which of R rows each of N points gets its values from.

    Attributes:
        num_points: N, points of the cloud.
        points: int64 (M,), the usable points of the cloud, ascending.
        rows: int64 (M,), the row of each usable point; -1 for none.
    """

    num_points: int
    points: np.ndarray
    rows: np.ndarray

    def onto(self, rows: np.ndarray) -> "Projection":
        """The projection from other rows: row r of this one gets its values from their row ``rows[r]``, int64 (R,)."""
        return Projection(self.num_points, self.points, np.where(self.rows < 0, -1, rows[self.rows]))

    def project(self, values: np.ndarray, unusable: int) -> np.ndarray:
        """``values`` (R, …) of the rows as values (N, …) of the points; ``unusable`` for points without a row."""
        known = self.rows >= 0
        out = np.full((self.num_points, *values.shape[1:]), unusable, values.dtype)
        out[self.points[known]] = values[self.rows[known]]
        return out

    @classmethod
    def of_nothing(cls, num_points: int) -> "Projection":
        """For a cloud of ``num_points`` that are all unusable."""
        nothing = np.empty(0, np.int64)
        return cls(num_points, nothing, nothing)
