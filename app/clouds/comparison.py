"""Which classes of a prediction are compared with which codes of the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.clouds import asprs, occurrences
from app.clouds.cloud import ClassInfo
from app.clouds.lookup import looked_up
from app.confusion import Confusion
from app.errors import BadRequest

CODES = range(256)  # that a LAS file can state


@dataclass(frozen=True)
class Comparison:
    """The K classes that are compared, and what counts as each.

    Attributes:
        names: of the classes.
        codes: of each class, those that it is shown with.
        truth: place of the class by code of the truth; a code that is not here is not judged.
        predicted: place of the class by label of the prediction; a label that is not here is none of the classes.
    """

    names: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]
    truth: Mapping[int, int]
    predicted: Mapping[int, int]

    @classmethod
    def of_ids(cls, classes: Sequence[ClassInfo]) -> "Comparison":
        """The ``classes`` of a model against a truth that states their ids."""
        places = {info.id: place for place, info in enumerate(classes)}
        return cls(tuple(info.name for info in classes), tuple((info.id,) for info in classes), places, places)

    @classmethod
    def of_model(cls, classes: Sequence[ClassInfo], model: str = "") -> "Comparison":
        """The ``classes`` of an answer of ``model`` by their ids against a truth of ASPRS codes.

        Classes that state the same code count as one. What refinement gives points, or has them keep of the file, is a
        class like any other. A true code that no class has counts as the one that stands in for it (other vegetation,
        ground), or is not judged; nor are codes of points that nobody gave a class (``asprs.IGNORED``). As a label such
        a code is none of the classes.

        Raises:
            BadRequest: no class states an ASPRS code.
        """
        names: dict[int, list[str]] = {}
        for info in classes:
            if info.asprs is not None:
                names.setdefault(info.asprs, []).append(info.name)
        known = sorted(names.keys() - {*asprs.IGNORED})
        if not known:
            raise BadRequest(
                f"The model {model} states no ASPRS codes for its classes, so its labels cannot be compared with a LAS "
                "classification."
            )
        compared = {code: asprs.counts_as(code, known) for code in CODES if code not in asprs.IGNORED}
        return cls(
            tuple(" + ".join(names[code]) for code in known),
            tuple((code,) for code in known),
            {code: known.index(meant) for code, meant in compared.items() if meant is not None},
            {info.id: known.index(info.asprs) for info in classes if info.asprs in known},
        )

    def confusion(self, truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Confusion:
        """Of points, or groups of ``weights`` (N,) points or square metres, by true code and predicted label (N,).

        Numbers of any kind are taken; what is no code is not judged.
        """
        return Confusion.of_rows(self.names, *self.places(truth, predicted), weights)

    def places(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of the classes of true codes and predicted labels (N,), int64 (N,) each, -1 for none."""
        return looked_up(truth, self.truth, -1), looked_up(predicted, self.predicted, -1)

    def vegetation_as_one(self, confusion: Confusion) -> tuple["Comparison", Confusion] | None:
        """With low, medium and high vegetation as one class, in the place of the lowest of them; None if there are
        fewer than two."""
        green = [place for place, codes in enumerate(self.codes) if set(codes) <= set(asprs.VEGETATION)]
        if len(green) < 2:
            return None
        kept = [place for place in range(len(self.names)) if place not in green[1:]]
        places = [kept.index(green[0] if place in green else place) for place in range(len(self.names))]
        names = tuple("vegetation" if place in green else self.names[place] for place in kept)
        merged = tuple(code for place in green for code in self.codes[place])
        codes = tuple(merged if place in green else self.codes[place] for place in kept)
        truth, predicted = (
            {code: places[place] for code, place in each.items()} for each in (self.truth, self.predicted)
        )
        return Comparison(names, codes, truth, predicted), confusion.grouped(names, places)


def paired(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (P, 2) of true code and label that occur, and the place among them of each of N points."""
    (codes, rows), (labels, columns) = map(occurrences.places, (truth, predicted))
    cells, places = occurrences.places(rows * max(1, len(labels)) + columns)
    row, column = np.divmod(cells, max(1, len(labels)))
    return np.column_stack([codes[row], labels[column]]), places
