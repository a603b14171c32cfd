"""What became of a whole tile, from what became of its pieces."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from app.clouds.area import NONE_WITHIN
from app.survey.target import Written
from app.survey.workers import TileResult

Key = TypeVar("Key", int, str)
Number = TypeVar("Number", int, float)


def of(found: Sequence[TileResult], output: str, placed: Written, timings_ms: Mapping[str, float]) -> TileResult:
    """The result of a tile whose pieces had the results ``found``, and whose answer was ``placed`` as ``output``.

    ``timings_ms`` are those of what was done with the whole tile.
    """
    return replace(
        found[0],
        num_points=sum(each.num_points for each in found),
        output=output,
        num_bytes=placed.num_bytes,
        sha256=placed.sha256,
        version=placed.version,
        counts=_added(each.counts for each in found),
        num_context=sum(each.num_context for each in found),
        reference=next((each.reference for each in found if each.reference), ""),
        agreement=_agreement(found),
        refined=_added(each.refined for each in found),
        warnings=_warnings([each.warnings for each in found]),
        timings_ms=_added([timings_ms, *(each.timings_ms for each in found)]),
    )


def _added(parts: Iterable[Mapping[Key, Number]]) -> dict[Key, Number]:
    """The sum of each number over all ``parts`` that have it."""
    total: dict[Key, Number] = {}
    for part in parts:
        for key, number in part.items():
            total[key] = total[key] + number if key in total else number
    return total


def _warnings(parts: Sequence[Sequence[str]]) -> list[str]:
    """Those of any part, each once; that no point is within an area only if all parts say so."""
    texts = dict.fromkeys(text for part in parts for text in part)
    return [text for text in texts if text != NONE_WITHIN or all(text in part for part in parts)]


def _agreement(found: Sequence[TileResult]) -> list[tuple[int, int, int]]:
    """Points by code and class id, of all pieces."""
    total: Counter[tuple[int, int]] = Counter()
    for each in found:
        for code, label, count in each.agreement:
            total[code, label] += count
    return [(code, label, count) for (code, label), count in sorted(total.items())]
