"""How well labels agree with the classification that a file came with, in ASPRS codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.clouds.asprs import IGNORED, VEGETATION, counts_as
from app.clouds.cloud import ClassInfo, Segmentation
from app.errors import BadRequest


@dataclass(frozen=True)
class Score:
    """Agreement of N points.

    ``confusion`` int64 (K, K + 1) counts points by true class (row) and predicted class (column); the last column
    is for predictions that are none of the K classes. ``ignored`` counts points whose true code is none of them.
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]
    confusion: np.ndarray
    ignored: int

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class, float64 (K,); NaN for a class that the truth does not hold."""
        square = self.confusion[:, :-1]
        hits, truth = np.diag(square), self.confusion.sum(1)
        union = truth + square.sum(0) - hits
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=truth > 0)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that the truth holds; NaN if it holds none."""
        known = self.iou[~np.isnan(self.iou)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def merged(self) -> "Score":
        """With low, medium and high vegetation as one class, which has the code of the lowest of them here."""
        first = next((code for code in self.codes if code in VEGETATION), -1)
        groups = [first if code in VEGETATION else code for code in self.codes]
        codes = tuple(dict.fromkeys(groups))
        member = np.array([[group == code for code in codes] for group in groups], np.int64)  # (K, fewer)
        square, others = self.confusion[:, :-1], self.confusion[:, -1:]
        confusion = member.T @ np.hstack([square @ member, others])
        names = ["vegetation" if code == first else self.names[self.codes.index(code)] for code in codes]
        return Score(codes, tuple(names), confusion, self.ignored)


def pooled(scores: Sequence[Score]) -> Score:
    """The score of the points of all ``scores`` together, which are of one model."""
    confusion = np.sum([each.confusion for each in scores], axis=0)
    return Score(scores[0].codes, scores[0].names, confusion, sum(each.ignored for each in scores))


def score(truth: np.ndarray, segmentation: Segmentation, ignored: tuple[int, ...] = IGNORED) -> Score:
    """Compare ``segmentation`` with the ASPRS codes ``truth``, numbers (N,); one that is no code is ignored.

    Classes of the model that state the same code count as one; a true code that the model does not know is replaced by
    the code that stands in for it (other vegetation, ground) or ignored, as are the codes in ``ignored``.

    Raises:
        BadRequest: the model states no ASPRS codes.
    """
    meta = segmentation.meta
    return score_of_counts(truth, segmentation.labels, np.ones(len(truth), np.int64), meta.classes, meta.model, ignored)


def score_of_counts(
    truth: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    classes: list[ClassInfo],
    model: str,
    ignored: tuple[int, ...] = IGNORED,
) -> Score:
    """``score`` of ``counts`` points each that have the codes ``truth`` and got the ``labels`` of ``model``."""
    names = require_codes(classes, model)
    codes = sorted(names)
    row_of = {code: row for row, code in enumerate(codes)}
    compared = {code: counts_as(code, codes) for code in range(256) if code not in ignored}
    truth_rows = _rows(truth, {code: row_of[known] for code, known in compared.items() if known is not None})
    predicted_rows = _rows(labels, _rows_by_label(classes, codes))
    predicted_rows[predicted_rows < 0] = len(codes)
    counted = truth_rows >= 0
    cells = truth_rows[counted] * (len(codes) + 1) + predicted_rows[counted]
    confusion = np.bincount(cells, counts[counted], minlength=len(codes) * (len(codes) + 1)).astype(np.int64)
    return Score(
        codes=tuple(codes),
        names=tuple(" + ".join(names[code]) for code in codes),
        confusion=confusion.reshape(len(codes), -1),
        ignored=int(counts[~counted].sum()),
    )


def require_codes(classes: list[ClassInfo], model: str) -> dict[int, list[str]]:
    """Names of the ``classes`` of ``model`` by ASPRS code. Raises BadRequest if no class states one."""
    names: dict[int, list[str]] = {}
    for info in classes:
        if info.asprs is not None:
            names.setdefault(info.asprs, []).append(info.name)
    if not names:
        raise BadRequest(
            f"The model {model} states no ASPRS codes for its classes, so its labels cannot be compared with a LAS "
            "classification."
        )
    return names


def _rows_by_label(classes: list[ClassInfo], codes: list[int]) -> dict[int, int]:
    return {info.id: codes.index(info.asprs) for info in classes if info.asprs is not None}


def _rows(values: np.ndarray, row_of: dict[int, int]) -> np.ndarray:
    """Row of every value, int64 (N,); -1 if ``row_of`` has none."""
    unique, inverse = np.unique(values, return_inverse=True)
    rows = np.array([row_of.get(value, -1) for value in unique.tolist()], np.int64)
    return rows[inverse.reshape(-1)]
