"""Warnings of many tiles, of which those that differ in numbers only are one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.survey.row import Row

NUMBER = re.compile(r"(?<![\w.,/-])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w/-])")  # that stands alone, as no part of a name
NEIGHBOUR = "A neighbour"  # in place of the name of one that gives no context
MOST_KINDS = 1000  # that are told apart
OTHERS = "Other warnings, which the manifest has."


@dataclass
class _Kind:
    """Warnings with the same words: these, the least and greatest of each number between them, and how many tiles."""

    words: list[str]
    least: list[str]
    most: list[str]
    num_tiles: int = 0

    def add(self, numbers: list[str]) -> None:
        self.least = [min(pair, key=_value) for pair in zip(self.least, numbers, strict=True)]
        self.most = [max(pair, key=_value) for pair in zip(self.most, numbers, strict=True)]
        self.num_tiles += 1

    def __str__(self) -> str:
        spans = (
            low if _value(low) == _value(high) else f"{low} to {high}"
            for low, high in zip(self.least, self.most, strict=True)
        )
        return "".join(part for pair in zip(self.words, [*spans, ""], strict=True) for part in pair)


class Warnings:
    """Sums up the warnings of tiles, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def add(self, row: Row) -> None:
        """Add those of a tile, each once."""
        texts = row.warnings
        for name in row.lacking:
            texts = [f"{NEIGHBOUR}{text[len(name) :]}" if text.startswith(name) else text for text in texts]
        for text in dict.fromkeys(texts):
            self._add(text)

    def _add(self, text: str) -> None:
        words, numbers = NUMBER.split(text), NUMBER.findall(text)
        key = "0".join(words)
        if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
            key, words, numbers = OTHERS, [OTHERS], []
        self._kinds.setdefault(key, _Kind(words, numbers, numbers)).add(numbers)

    def most_common(self, most: int) -> Iterator[tuple[str, int]]:
        """The kinds of most tiles, each with their number; numbers that differ are shown as the span of all."""
        kinds = sorted(self._kinds.values(), key=lambda kind: -kind.num_tiles)[:most]
        return ((str(kind), kind.num_tiles) for kind in kinds)


def _value(number: str) -> float:
    return float(number.replace(",", ""))
