"""The classes of an answer: those of the model, and those that steps add for codes that the model does not have."""

from collections.abc import Sequence

from app.clouds import asprs
from app.clouds.cloud import ClassInfo


class Legend:
    """Classes by id and by ASPRS code.

    Args:
        classes: of the model, in the order of its probabilities; several may have one code.
    """

    def __init__(self, classes: Sequence[ClassInfo]):
        self.known = tuple(classes)
        self._added: dict[int, ClassInfo] = {}

    @property
    def added(self) -> list[ClassInfo]:
        """Those that steps added, by code."""
        return [self._added[code] for code in sorted(self._added)]

    @property
    def infos(self) -> list[ClassInfo]:
        """All, the model's first."""
        return [*self.known, *self.added]

    @property
    def have_codes(self) -> bool:
        """Whether every class of the model has a code."""
        return all(info.asprs is not None for info in self.known)

    def ids_of(self, *codes: int) -> list[int]:
        """Ids of the classes that mean one of ``codes``."""
        return [info.id for info in self.infos if info.asprs in codes]

    def id_of(self, code: int) -> int:
        """Id of the first class that means ``code``; one is added if there is none."""
        found = self.ids_of(code)
        if not found:
            self._added[code] = asprs.class_of(code)
            found = [self._added[code].id]
        return found[0]
