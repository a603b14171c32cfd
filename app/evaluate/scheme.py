"""What is judged: classes by the codes that mean them, and codes of the truth that are left out."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from app.clouds import asprs
from app.clouds.comparison import Comparison
from app.errors import BadRequest

_SPAN = re.compile(r"(-?\d{1,9})(?:-(\d{1,9}))?")
MAX_SPAN = 1 << 16
NO_CODE = -1


@dataclass(frozen=True)
class Rule:
    """A class and the codes that mean it, of the prediction and of the truth."""

    name: str
    predicted: frozenset[int]
    truth: frozenset[int]


@dataclass(frozen=True)
class Ignore:
    """Codes of the truth that are not judged in files whose names match ``pattern``, as in a shell."""

    pattern: str
    codes: frozenset[int]


@dataclass(frozen=True)
class Scheme:
    """The classes, and what of the truth is not judged.

    With ``rules`` only what they name is judged. Without, the classes are the codes that the files hold, but for those
    of points without a class: -1, and in LAS those of ``asprs.IGNORED``. What ``ignores`` name is never judged.
    """

    rules: tuple[Rule, ...] = ()
    ignores: tuple[Ignore, ...] = ()

    @classmethod
    def parse(cls, maps: Iterable[str] = (), ignores: Iterable[str] = ()) -> "Scheme":
        """Of the texts of ``--map``, rules or files of them, and ``--ignore``; raises BadRequest."""
        rules = tuple(_rule(text) for given in maps for text in _lines(given))
        for side in ("predicted", "truth"):
            codes = [code for rule in rules for code in getattr(rule, side)]
            twice = next((code for code in codes if codes.count(code) > 1), None)
            if twice is not None:
                raise BadRequest(
                    f"--map gives code {twice} of the {side.replace('predicted', 'prediction')} two classes."
                )
        return cls(rules, tuple(map(_ignore, ignores)))

    def judged(self, name: str, codes: Collection[int], is_asprs: bool = True) -> set[int]:
        """Those of the true ``codes`` of file ``name``, codes of LAS or ids, that are judged."""
        ruled = {code for rule in self.rules for code in rule.truth}
        found = set(codes) & ruled if self.rules else set(codes) - _classless(is_asprs)
        return found.difference(*(each.codes for each in self.ignores if fnmatchcase(name, each.pattern)))

    def unused(self, names: Iterable[str]) -> list[str]:
        """Patterns of ``ignores`` that none of the ``names`` of files match."""
        given = list(names)
        return [each.pattern for each in self.ignores if not any(fnmatchcase(name, each.pattern) for name in given)]

    def comparison(self, truth: Collection[int], predicted: Collection[int], is_asprs: bool = True) -> Comparison:
        """The classes, for judged codes ``truth`` and labels ``predicted`` of all files.

        Without rules: those that occur. A code of LAS that is not ``predicted`` counts as the one that stands in for it
        (other vegetation, ground), if that is; else it is a class of its own, which is missed.
        """
        if self.rules:
            return self._by_rules()
        known = set(predicted) - (_classless(is_asprs) - set(truth))
        meant = {code: asprs.counts_as(code, known) if is_asprs else code for code in truth}
        place = {code: code if found is None else found for code, found in meant.items()}
        codes = sorted(known | set(place.values()))
        return Comparison(
            tuple(asprs.title_of(code) if is_asprs else f"class {code}" for code in codes),
            tuple(tuple(sorted({code, *(each for each in truth if place[each] == code)})) for code in codes),
            {code: codes.index(found) for code, found in place.items()},
            {code: codes.index(code) for code in known},
        )

    def _by_rules(self) -> Comparison:
        names = tuple(dict.fromkeys(rule.name for rule in self.rules))
        return Comparison(
            names,
            tuple(
                tuple(sorted(code for rule in self.rules if rule.name == name for code in rule.truth)) for name in names
            ),
            {code: names.index(rule.name) for rule in self.rules for code in rule.truth},
            {code: names.index(rule.name) for rule in self.rules for code in rule.predicted},
        )


def _classless(is_asprs: bool) -> set[int]:
    """Codes of points that nobody gave a class."""
    return {NO_CODE, *(asprs.IGNORED if is_asprs else ())}


def _lines(given: str) -> Sequence[str]:
    """The rules in ``given``: itself, or the lines of the file that it names."""
    if ":" in given:
        return [given]
    try:
        lines = Path(given).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise BadRequest(
            f"--map {given}: no rule, and no file of rules that can be read; a rule is CODES:NAME, as in "
            "3,4,5:vegetation."
        ) from None
    rules = [line.partition("#")[0].strip() for line in lines]
    return [rule for rule in rules if rule]


def _rule(text: str) -> Rule:
    codes, _, name = text.partition(":")
    predicted, same, truth = codes.partition("=")
    if not name.strip():
        raise BadRequest(f"--map {text}: the rule names no class; expected is CODES:NAME, as in 3,4,5:vegetation.")
    if not same:
        return Rule(name.strip(), _codes("--map", text, codes), _codes("--map", text, codes))
    sides = (_codes("--map", text, side) if side.strip() else frozenset[int]() for side in (predicted, truth))
    return Rule(name.strip(), *sides)


def _ignore(text: str) -> Ignore:
    pattern, _, codes = text.rpartition(":")
    return Ignore(pattern or "*", _codes("--ignore", text, codes))


def _codes(option: str, text: str, codes: str) -> frozenset[int]:
    """The codes of a list such as ``3,4,5`` or ``64-255``."""
    found: set[int] = set()
    for part in codes.split(","):
        span = _SPAN.fullmatch(part.strip())
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (0, -1)
        if not 0 <= last - first < MAX_SPAN:
            raise BadRequest(
                f"{option} {text}: '{part.strip()}' is no code and no span of such; codes are as 3,4,5 or 64-255."
            )
        found.update(range(first, last + 1))
    return frozenset(found)
