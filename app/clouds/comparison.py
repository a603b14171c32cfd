"""Which classes of a prediction are compared with which codes of the truth."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.clouds import asprs
from app.clouds.cloud import ClassInfo
from app.confusion import Confusion
from app.errors import BadRequest

CODES = range(256)  # that a LAS file can state
MAX_TABLE = 1 << 16


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
    def of_model(
        cls, classes: Sequence[ClassInfo], model: str = "", ignored: Collection[int] = asprs.IGNORED
    ) -> "Comparison":
        """The ``classes`` of ``model`` by their ids against a truth of ASPRS codes.

        Classes of the model that state the same code count as one. A true code that the model does not know counts as
        the one that stands in for it (other vegetation, ground), or is not judged; nor are those ``ignored``.

        Raises:
            BadRequest: no class states an ASPRS code.
        """
        names: dict[int, list[str]] = {}
        for info in classes:
            if info.asprs is not None:
                names.setdefault(info.asprs, []).append(info.name)
        if not names:
            raise BadRequest(
                f"The model {model} states no ASPRS codes for its classes, so its labels cannot be compared with a LAS "
                "classification."
            )
        known = sorted(names)
        compared = {code: asprs.counts_as(code, known) for code in CODES if code not in ignored}
        return cls(
            tuple(" + ".join(names[code]) for code in known),
            tuple((code,) for code in known),
            {code: known.index(meant) for code, meant in compared.items() if meant is not None},
            {info.id: known.index(info.asprs) for info in classes if info.asprs is not None},
        )

    def confusion(self, truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Confusion:
        """Of points, or groups of ``weights`` (N,) points or square metres, by true code and predicted label (N,).

        Numbers of any kind are taken; what is no code is not judged.
        """
        return Confusion.of_rows(self.names, *self.places(truth, predicted), weights)

    def places(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of the classes of true codes and predicted labels (N,), int64 (N,) each, -1 for none."""
        return _places(truth, self.truth), _places(predicted, self.predicted)

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


def _places(values: np.ndarray, place_of: Mapping[int, int]) -> np.ndarray:
    """Place of every value, int64 (N,); -1 if ``place_of`` has none."""
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < MAX_TABLE:
            table = np.array([place_of.get(code, -1) for code in range(low, high + 1)], np.int64)
            return table[values.astype(np.int64) - low]
    unique, inverse = np.unique(values, return_inverse=True)
    places = np.array([place_of.get(value, -1) for value in unique.tolist()], np.int64)
    return places[inverse.reshape(-1)]
