"""The classes of an answer: those of the model, and those that steps add for codes that the model does not have."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from app.clouds import asprs
from app.clouds.cloud import ClassInfo
from app.errors import BadRequest, some_of


class Legend:
    """Classes by id and by ASPRS code.

    Args:
        classes: of the model, in the order of its probabilities; several may have one code.
        codes: that a request states for some of them, by id. A class that has no code means this one from the
            beginning, others keep their meaning for the steps before ``recode``.
    """

    def __init__(self, classes: Sequence[ClassInfo], codes: Mapping[int, int] | None = None):
        self._codes = codes or {}
        self._given = tuple(classes)
        self.known = tuple(
            replace(info, asprs=self._codes.get(info.id) if info.asprs is None else info.asprs) for info in classes
        )
        self._added: dict[int, ClassInfo] = {}
        self._kept: set[int] = set()

    def recode(self) -> list[int]:
        """Give the classes the codes of the request; ids of those whose code is another than the model's then."""
        self.known = tuple(replace(info, asprs=self._codes.get(info.id, info.asprs)) for info in self.known)
        return [info.id for info, before in zip(self.known, self._given, strict=True) if info.asprs != before.asprs]

    @property
    def added(self) -> list[ClassInfo]:
        """Those that steps added, by code."""
        return [self._added[code] for code in sorted(self._added)]

    @property
    def infos(self) -> list[ClassInfo]:
        """All, the model's first."""
        return [*self.known, *self.added]

    @property
    def given_codes(self) -> list[int]:
        """What the model means by its classes, and the codes that steps added, ascending; not those only kept."""
        own = {info.asprs for info in self._given if info.asprs is not None}
        return sorted(own | self._added.keys() - self._kept)

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

    def id_kept(self, code: int) -> int:
        """As ``id_of``, for points that keep the code that the file states."""
        if not self.ids_of(code):
            self._kept.add(code)
        return self.id_of(code)


def codes_of(stated: Sequence[str], classes: Sequence[ClassInfo]) -> dict[int, int]:
    """The codes that ``stated`` gives to some of ``classes``, each as NAME:CODE or ID:CODE, by id.

    Names are compared without case, blanks, dashes and underscores. Raises BadRequest for a class that is not there.
    """
    ids = ids_by_name(classes)
    codes = {}
    for pair in stated:
        name, _, code = pair.rpartition(":")
        if key(name) not in ids:
            known = some_of([f"'{info.name:.40}'" for info in classes], most=40)
            raise BadRequest(f"classes= names '{name:.60}', which the model does not have; it has {known}.")
        codes[ids[key(name)]] = int(code)
    return codes


def ids_by_name(classes: Sequence[ClassInfo]) -> dict[str, int]:
    """Ids of ``classes`` by the ``key`` of their names, and by themselves as text."""
    return {str(info.id): info.id for info in classes} | {key(info.name): info.id for info in classes}


def check_alike(models: Sequence[tuple[str, Sequence[ClassInfo]]]) -> None:
    """Raise BadRequest, which says what differs, unless ``models``, names with classes, have the same classes in one
    order."""
    name, classes = models[0]
    for other, others in models[1:]:
        for number, (one, two) in enumerate(zip_longest(classes, others)):
            if one is None or two is None or (key(one.name), one.asprs) != (key(two.name), two.asprs):
                raise BadRequest(
                    f"models {name} and {other} cannot be averaged, because their classes differ: {len(classes)} and "
                    f"{len(others)} of them, and the class of place {number} is {_told(one)} in the first and "
                    f"{_told(two)} in the second"
                )


def _told(info: ClassInfo | None) -> str:
    if info is None:
        return "missing"
    return f"'{info.name:.40}'" + ("" if info.asprs is None else f" (code {info.asprs})")


def key(name: str) -> str:
    """``name`` as names of classes are compared."""
    return name.lower().translate(str.maketrans("", "", " -_"))
