"""An evaluation as Markdown."""

from collections.abc import Iterable

from app.evaluate.evaluation import Evaluation
from app.evaluate.tables import Table, tables


def markdown(found: Evaluation) -> str:
    """All tables, and what failed."""
    parts = ["# Evaluation", found.words, *map(table, tables(found))]
    if found.notes:
        parts.append("\n".join(["## Notes", "", *(f"- {_plain(note)}" for note in found.notes)]))
    if found.failures:
        rows = [[file, reason] for file, reason in found.failures.items()]
        parts.append(table(Table("Not compared", ["file", "reason"], rows)))
    return "\n\n".join(parts) + "\n"


def table(given: Table, level: int = 2) -> str:
    """One table under its title."""
    lines = [f"{'#' * level} {given.title}", "", *([given.words, ""] if given.words else [])] if given.title else []
    lines += [_row(given.header), _row(["---", *["---:"] * (len(given.header) - 1)])]
    return "\n".join([*lines, *map(_row, given.rows)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """``text`` in one line, without what Markdown would take for the border of a cell."""
    return " ".join(text.split()).replace("|", "\\|")
