"""Tables of results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from app.clouds.cloud import Segmentation
    from app.score import Score


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


def score_table(title: str, score: "Score") -> Table:
    """IoU of every class, their mean, the two with all vegetation as one class, and how many points were compared."""
    points = score.confusion.sum(1)
    table = Table(title=escape(title), title_justify="left")
    table.add_column("ASPRS", justify="right")
    table.add_column("class")
    table.add_column("true points", justify="right")
    table.add_column("IoU", justify="right")
    for code, name, count, iou in zip(score.codes, score.names, points, score.iou, strict=True):
        table.add_row(str(code), escape(name), f"{count:,}", _ratio(iou))
    table.add_section()
    table.add_row("", "mean", f"{points.sum():,} ({score.ignored:,} ignored)", _ratio(score.mean_iou))
    merged = score.merged
    if len(merged.codes) < len(score.codes):
        place = merged.names.index("vegetation")
        table.add_row("3–5", "vegetation as one class", f"{merged.confusion[place].sum():,}", _ratio(merged.iou[place]))
        table.add_row("", "mean with it", "", _ratio(merged.mean_iou))
    return table


def _count(chosen: np.ndarray) -> tuple[str, str]:
    return f"{np.count_nonzero(chosen):,}", f"{100 * chosen.mean():.1f} %"


def _ratio(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4f}"
