"""Tables of results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from .terminal import results

if TYPE_CHECKING:
    from app.clouds.cloud import Segmentation
    from app.evaluate.tables import Table as FigureTable

GAP = 2  # between columns


def counts_table(title: str, segmentation: "Segmentation") -> Table:
    """Points of every class, and of none."""
    table = Table(title=escape(title), title_justify="left")
    table.add_column("id", justify="right")
    table.add_column("class")
    table.add_column("ASPRS", justify="right")
    table.add_column("points", justify="right")
    table.add_column("share", justify="right")
    labels = segmentation.labels
    for info in segmentation.meta.classes:
        color = "#{:02x}{:02x}{:02x}".format(*info.color)
        code = "" if info.asprs is None else str(info.asprs)
        table.add_row(str(info.id), f"[{color}]■[/] {escape(info.name)}", code, *_count(labels == info.id))
    ignored = labels == segmentation.meta.ignore_label
    if ignored.any():
        table.add_row(str(segmentation.meta.ignore_label), "(unusable)", "", *_count(ignored))
    return table


class Refined(Protocol):
    """A step that refined the labels."""

    @property
    def step(self) -> str:
        """Its name."""

    @property
    def changed(self) -> int:
        """How many points it changed."""


def refined_words(steps: Sequence[Refined]) -> str:
    """What refined the labels: "unclassified changed 1,234 points"."""
    return ", ".join(f"{done.step} changed {done.changed:,} points" for done in steps)


def print_table(table: "FigureTable") -> None:
    """Print a table of figures. Only names of columns are broken, so many columns can be wider than the terminal."""
    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    if sum(widths) + GAP * (len(widths) - 1) > results.width:
        widths = [max(map(len, (*name.split(), *cells))) for name, *cells in columns]
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.width = sum(widths) + GAP * (len(widths) - 1)
    for place, (name, width) in enumerate(zip(table.header, widths, strict=True)):
        made.add_column(escape(name), justify="right" if place else "left", width=width)
    for row in table.rows:
        made.add_row(*map(escape, row))
    results.print(table.title, style="italic", markup=False, soft_wrap=True)
    results.print(made, crop=False)
    if table.words:
        results.print(table.words, style="dim", markup=False, soft_wrap=True)


def _count(chosen: np.ndarray) -> tuple[str, str]:
    return f"{np.count_nonzero(chosen):,}", f"{100 * chosen.mean():.1f} %"
