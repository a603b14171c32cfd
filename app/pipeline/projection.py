"""Projection of values from voxels, or from the points that a procedure keeps, to all points of a cloud."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """Which of R rows each of N points gets its values from.

    Attributes:
        rows: int64 (N,), the row of each point of the cloud; -1 for none, as of a point that is not usable.
        has_gaps: False if every point has a row.
        noise: bool (N,), points that were left out as noise: their rows are those of others. None if there are none.
    """

    rows: Tensor
    has_gaps: bool = True
    noise: Tensor | None = None

    @property
    def num_points(self) -> int:
        """N, points of the cloud."""
        return len(self.rows)

    def first(self, num_points: int) -> "Projection":
        """The projection to the first ``num_points`` points alone."""
        noise = None if self.noise is None else self.noise[:num_points]
        return Projection(self.rows[:num_points], self.has_gaps, noise)

    def onto(self, rows: Tensor, *, have_gaps: bool = False) -> "Projection":
        """The projection from other rows: row r of this one gets its values from their row ``rows[r]``, int64 (R,).

        -1 among ``rows``, for none, must be told by ``have_gaps``.
        """
        return replace(self, rows=self.project(rows, -1), has_gaps=self.has_gaps or have_gaps)

    def with_noise(self, noise: Tensor) -> "Projection":
        """The same, with the points noise whose rows are so by bool ``noise`` (R,), and those that were before."""
        found = self.project(noise, False)
        return replace(self, noise=found if self.noise is None else found | self.noise)

    def with_noise_at(self, row: int) -> "Projection":
        """The projection that gives noise its values from ``row``."""
        return self if self.noise is None else replace(self, rows=self.rows.masked_fill(self.noise, row))

    def project(self, values: Tensor, unusable: float) -> Tensor:
        """``values`` (R, …) of the rows as values (N, …) of the points; ``unusable`` for points without a row."""
        if not self.has_gaps:
            return values.index_select(0, self.rows)
        if not len(values):
            return values.new_full((self.num_points, *values.shape[1:]), unusable)
        without = (self.rows < 0).view(-1, *[1] * (values.ndim - 1))
        return values.index_select(0, self.rows.clamp(min=0)).masked_fill_(without, unusable)

    def cpu(self) -> "Projection":
        """The same on the processor."""
        return replace(self, rows=self.rows.cpu())

    @classmethod
    def of_usable(cls, num_points: int, points: Tensor) -> "Projection":
        """From the usable ``points`` int64 (R,), ascending, of a cloud of ``num_points`` to all of them."""
        if len(points) == num_points:
            return cls(points, has_gaps=False)
        rows = points.new_full((num_points,), -1)
        rows[points] = torch.arange(len(points), device=points.device)
        return cls(rows)

    @classmethod
    def of_nothing(cls, num_points: int) -> "Projection":
        """For a cloud of ``num_points`` that are all unusable."""
        return cls(torch.full((num_points,), -1))
