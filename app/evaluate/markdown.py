"""An evaluation as Markdown."""

import re
from collections.abc import Iterable

from app.evaluate.evaluation import Evaluation
from app.evaluate.tables import Table, tables

SPECIAL = re.compile(r"[|<*]|\b_|_\b")


def markdown(found: Evaluation) -> str:
    """All tables, and what failed."""
    parts = ["# Evaluation", _plain(found.words)]
    if found.failures:
        parts.append(_list("Not compared", [f"{file}: {reason}" for file, reason in found.failures.items()]))
    parts += map(table, tables(found))
    if found.notes:
        parts.append(_list("Notes", found.note_lines))
    return "\n\n".join(parts) + "\n"


def table(given: Table, level: int = 2) -> str:
    """One table under its title."""
    lines = [f"{'#' * level} {given.title}", "", *([given.words, ""] if given.words else [])] if given.title else []
    lines += [_row(given.header), _row(["---", *["---:"] * (len(given.header) - 1)])]
    return "\n".join([*lines, *map(_row, given.rows)])


def _list(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {_plain(line)}" for line in lines)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """``text`` in one line, without what Markdown would take for the border of a cell, a tag or emphasis."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
