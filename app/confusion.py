"""Confusion of true and predicted classes, and the figures that follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Confusion:
    """How much of each true class got which class.

    A class that the truth does not hold has no figures: they are NaN, and it is left out of means. Confusions of the
    same classes can be stacked: all figures then have the shape (...) or (..., K).

    Attributes:
        names: of the K classes.
        counts: (..., K, K + 1), points (int64) or square metres (float64) by true class (row) and predicted class
            (column); the last column is for predictions that are none of the K classes.
        ignored: points whose true class is not judged.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    ignored: int = 0

    @classmethod
    def of_rows(
        cls, names: Sequence[str], truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None
    ) -> "Confusion":
        """Of points, or groups of ``weights`` (N,) points or square metres, by the places of their true and their
        predicted class among ``names``, integers (N,).

        A true class below 0 is not judged, a predicted one below 0 is none of them.
        """
        num_classes, judged = len(names), truth >= 0
        columns = np.where(predicted < 0, num_classes, predicted)[judged]
        cells = truth[judged] * (num_classes + 1) + columns
        given = None if weights is None else weights[judged]
        counts = np.bincount(cells, given, minlength=num_classes * (num_classes + 1))
        kind = np.float64 if weights is not None and weights.dtype.kind == "f" else np.int64
        ignored = np.count_nonzero(~judged) if weights is None else weights[~judged].sum()
        return cls(tuple(names), counts.astype(kind).reshape(num_classes, num_classes + 1), int(ignored))

    @property
    def truth(self) -> np.ndarray:
        """Points or square metres of each true class, (..., K)."""
        return self.counts.sum(-1)

    @property
    def predicted(self) -> np.ndarray:
        """Judged points or square metres that got each class, (..., K)."""
        return self.counts[..., :-1].sum(-2)

    @property
    def hits(self) -> np.ndarray:
        """Points or square metres of each class that got it, (..., K)."""
        return np.diagonal(self.counts[..., :-1], axis1=-2, axis2=-1)

    @property
    def judged(self) -> Any:
        """All points or square metres that are compared, (...)."""
        return self.counts.sum((-2, -1))

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class, float64 (..., K)."""
        return self._share(self.hits, self.truth + self.predicted - self.hits)

    @property
    def precision(self) -> np.ndarray:
        """Share of what got a class that is of it, float64 (..., K); NaN also if nothing got it."""
        return self._share(self.hits, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """Share of a class that got it, float64 (..., K)."""
        return self._share(self.hits, self.truth)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall, 2 hits / (true + predicted), float64 (..., K)."""
        return self._share(2 * self.hits, self.truth + self.predicted)

    @property
    def mean_iou(self) -> Any:
        """Mean over the classes that the truth holds, (...); NaN if it holds none."""
        held = self.truth > 0
        return _divided(np.where(held, self.iou, 0).sum(-1), held.sum(-1))

    @property
    def accuracy(self) -> Any:
        """Share of all that got its class (overall accuracy), (...)."""
        return _divided(self.hits.sum(-1), self.judged)

    @property
    def kappa(self) -> Any:
        """Cohen's kappa, (p - e) / (1 - e) for the accuracy p and that by chance e, (...); NaN if e is 1.

        J. Cohen, A coefficient of agreement for nominal scales, Educ. Psychol. Meas. 20 (1960) 37.
        """
        by_chance = _divided((self.truth * self.predicted).sum(-1, dtype=np.float64), np.square(self.judged * 1.0))
        return _divided(self.accuracy - by_chance, 1 - by_chance)

    def grouped(self, names: Sequence[str], places: Sequence[int]) -> "Confusion":
        """With classes put together: class k becomes class ``places[k]`` of ``names``."""
        member = np.equal.outer(np.asarray(places), np.arange(len(names))).astype(self.counts.dtype)  # (K, fewer)
        columns = np.concatenate([self.counts[..., :-1] @ member, self.counts[..., -1:]], -1)
        return Confusion(tuple(names), member.T @ columns, self.ignored)

    def figures(self) -> dict[str, Any]:
        """All figures of one confusion, for JSON: numbers, and lists with a number a class; NaN is null there."""
        each = {
            name: getattr(self, name).tolist() for name in ("truth", "predicted", "iou", "precision", "recall", "f1")
        }
        whole = {name: float(getattr(self, name)) for name in ("mean_iou", "accuracy", "kappa")}
        return {
            "classes": list(self.names),
            "counts": self.counts.tolist(),
            "judged": self.judged.item(),
            "ignored": self.ignored,
            **each,
            **whole,
        }

    def _share(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """``part / whole``, NaN for a class that the truth does not hold."""
        return _divided(part, np.where(self.truth > 0, whole, 0))


def pooled(confusions: Sequence[Confusion]) -> Confusion:
    """The confusion of all points together; ``confusions`` are of the same classes, one at least."""
    counts = np.sum([each.counts for each in confusions], axis=0)
    return Confusion(confusions[0].names, counts, sum(each.ignored for each in confusions))


def _divided(part: Any, whole: Any) -> Any:
    """``part / whole``, NaN where ``whole`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(whole) == 0, np.nan, np.true_divide(part, whole))[()]
