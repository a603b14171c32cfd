"""Tables of results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from app.clouds.cloud import Segmentation
    from app.evaluate.tables import Table as FigureTable


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


def shown(table: "FigureTable") -> Table:
    """A table of figures as the terminal shows it."""
    made = Table(
        title=escape(table.title),
        title_justify="left",
        caption=escape(table.words),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, name in enumerate(table.header):
        made.add_column(escape(name), justify="right" if place else "left", overflow="fold")
    for row in table.rows:
        made.add_row(*map(escape, row))
    return made


def _count(chosen: np.ndarray) -> tuple[str, str]:
    return f"{np.count_nonzero(chosen):,}", f"{100 * chosen.mean():.1f} %"
