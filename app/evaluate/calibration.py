"""How far the confidence of labels is the share of them that is right."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Calibration:
    """Points in B equal bins of confidence from 0 to 1: all of them, those with the right class, sum of confidence."""

    points: np.ndarray
    right: np.ndarray
    confidence: np.ndarray

    @property
    def mean_confidence(self) -> np.ndarray:
        """Of each bin, (B,); NaN for an empty one."""
        return self.confidence / np.where(self.points, self.points, np.nan)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of right labels in each bin, (B,); NaN for an empty one."""
        return self.right / np.where(self.points, self.points, np.nan)

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean over points of how far the two are apart in their bin.

        C. Guo et al., On calibration of modern neural networks, ICML 2017.
        """
        return float(np.abs(self.right - self.confidence).sum() / max(1, self.points.sum()))
