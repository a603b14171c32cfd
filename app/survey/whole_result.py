"""What became of a whole tile, from what became of its pieces."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from app.clouds import overwritten
from app.clouds.area import NONE_WITHIN
from app.survey.target import Written
from app.survey.workers import TileResult

NUM_POINTS = re.compile(r"\d[\d,]*(?= points?\b)|(?<=[a-z]: )\d[\d,]*(?=[;,.])")  # in warnings
ONE_POINT = re.compile(r"(?<=\d) point\b")
Key = TypeVar("Key", int, str)
Number = TypeVar("Number", int, float)


def of(
    found: Sequence[TileResult],
    output: str,
    placed: Written,
    timings_ms: Mapping[str, float],
    warnings: Sequence[str] = (),
) -> TileResult:
    """The result of a tile whose pieces had the results ``found``, and whose answer was ``placed`` as ``output``.

    ``timings_ms`` are those of what was done with the whole tile, ``warnings`` those of its file.
    """
    reference = next((each.reference for each in found if each.reference), "")
    return replace(
        found[0],
        num_points=sum(each.num_points for each in found),
        output=output,
        num_bytes=placed.num_bytes,
        sha256=placed.sha256,
        version=placed.version,
        counts=_added(each.counts for each in found),
        num_context=sum(each.num_context for each in found),
        reference=reference,
        agreement=_agreement([each for each in found if each.reference == reference]),
        refined=_added(each.refined for each in found),
        warnings=list(dict.fromkeys([*warnings, *_warnings([each.warnings for each in found])])),
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
    """Those of any part, each once.

    Those that differ in numbers of points alone are one, with their sums; classes that were overwritten have one each.
    That no point is within an area is a warning only if all parts say so.
    """
    found: dict[str, tuple[str, list[int]]] = {}
    for warning in (text for part in parts for text in part):
        for text in overwritten.apart(warning):
            plural = ONE_POINT.sub(" points", text)
            key = NUM_POINTS.sub("0", plural)
            counts = [int(count.replace(",", "")) for count in NUM_POINTS.findall(text)]
            if key in found:
                found[key] = plural, [sum(pair) for pair in zip(found[key][1], counts, strict=True)]
            else:
                found[key] = text, counts
    if not all(NONE_WITHIN in part for part in parts):
        found.pop(NONE_WITHIN, None)
    return [_with_counts(text, iter(sums)) for text, sums in found.values()]


def _with_counts(text: str, counts: Iterator[int]) -> str:
    return NUM_POINTS.sub(lambda match: f"{next(counts):,}", text)


def _agreement(found: Sequence[TileResult]) -> list[tuple[int, int, int]]:
    """Points by code and class id, of all pieces."""
    total: Counter[tuple[int, int]] = Counter()
    for each in found:
        for code, label, count in each.agreement:
            total[code, label] += count
    return [(code, label, count) for (code, label), count in sorted(total.items())]
