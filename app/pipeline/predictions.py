"""Predictions of voxels or points, before they are projected to all points of a cloud."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from app.networks.instances import Instances


@dataclass(frozen=True)
class Predictions:
    """Predictions of R rows, voxels or points that the procedure keeps, on the device.

    Attributes:
        best: int64 (R,), the likeliest class; 0 if the model knows none.
        probabilities: float32 (R, num_classes).
        passes: of the network, made.
        passes_wanted: those that the mode is made of.
        instances: of the rows, if they were asked for.
        features: float32 (R, C), if they were asked for.
        energy: float32 (R,), if it was asked for.
        votes: uint8 (R, num_classes), in how many passes each class was the likeliest, if that was asked for.
    """

    best: Tensor
    probabilities: Tensor
    passes: int = 1
    passes_wanted: int = 1
    instances: Instances | None = None
    features: Tensor | None = None
    energy: Tensor | None = None
    votes: Tensor | None = None

    def with_certain(self, column: int) -> "Predictions":
        """With one row more, whose class is ``column`` with probability 1, in best, probabilities and votes."""
        best = self.best.new_full((1,), column)
        certain = functional.one_hot(best, self.probabilities.shape[1])
        votes = None if self.votes is None else torch.cat([self.votes, (certain * self.passes).to(self.votes.dtype)])
        probabilities = torch.cat([self.probabilities, certain.to(self.probabilities.dtype)])
        return replace(self, best=torch.cat([self.best, best]), probabilities=probabilities, votes=votes)

    @classmethod
    def of_probabilities(cls, probabilities: Tensor) -> "Predictions":
        """Of one pass that gave ``probabilities`` float32 (R, num_classes)."""
        num_rows, num_classes = probabilities.shape
        best = probabilities.max(1).indices if num_classes else probabilities.new_zeros(num_rows, dtype=torch.int64)
        return cls(best, probabilities)

    @classmethod
    def of_nothing(cls, num_classes: int) -> "Predictions":
        """Of a cloud without a usable point."""
        return cls(torch.empty(0, dtype=torch.int64), torch.empty(0, num_classes), 0, 0)
