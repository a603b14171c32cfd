"""Tables of results in Markdown, and the command line of what measures them."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of cells, the header first; ``notes`` stand above them."""

    title: str
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        header, *body = self.rows
        lines = [_line(row) for row in (header, ["---"] * len(header), *body)]
        return "\n\n".join([f"### {self.title}", *self.notes, "\n".join(lines)]) + "\n"


Tables = Callable[[float, int], Iterator[Table]]  # of the scale of all sizes and the rounds


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that all measurements have, ``repeats`` and ``scale``."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=9, help="rounds that count (default: 9)")
    options.add_argument("--scale", type=float, default=1.0, help="all sizes times this, below 1 for a trial")
    return options


def print_alone(tables: Tables, description: str | None) -> None:
    """The command line of one section: measures and prints its tables."""
    arguments = parser(description).parse_args()
    for table in tables(arguments.scale, arguments.repeats):
        print(table, flush=True)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
