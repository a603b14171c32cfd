"""Figures as tables of text, for the terminal, Markdown and HTML alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from app.clouds.comparison import Comparison
from app.confusion import Confusion
from app.evaluate.calibration import Calibration
from app.evaluate.interval import LEVEL, Interval

if TYPE_CHECKING:
    from app.evaluate.evaluation import Evaluation  # which takes SciPy; reports of surveys have tables without it

SHOWN_TILES = 200
NONE = "–"
OTHERS = "none of them"
INTERVAL = f"{100 * LEVEL:g} % interval"


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; ``words`` say how to read them. The first column is left of the others, and
    ``shares`` are of 0 to 1 for cells that are shaded by them, by row and column."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: str = ""
    shares: Mapping[tuple[int, int], float] = field(default_factory=dict)


def tables(found: "Evaluation", most_tiles: int = SHOWN_TILES) -> list[Table]:
    """All tables of an evaluation, the most important first, with the ``most_tiles`` worst tiles."""
    return [
        class_table(found.comparison, found.points, found.intervals),
        _whole_table(found),
        confusion_table(found.points, "Points by true class (rows) and predicted class (columns)"),
        confusion_table(
            found.area,
            "Square metres by true class (rows) and predicted class (columns)",
            f"Seen from above, in cells of {found.cell_m:g} m × {found.cell_m:g} m: each that holds judged points is "
            "shared by them, so that dense places count no more than sparse ones.",
        ),
        view_table("By height", "height", found.heights, _based(found.bases)),
        view_table(
            "By distance to the edge of the tile", "distance", found.edges, "To the nearest side of the box around it."
        ),
        *([calibration_table(found.calibration)] if found.calibration else []),
        _tile_table(found, most_tiles),
        *([_ignored_table(found)] if found.ignored else []),
    ]


def class_table(
    comparison: Comparison,
    confusion: Confusion,
    intervals: Mapping[str, Interval] | None = None,
    title: str = "Classes",
) -> Table:
    """IoU of each class with its interval, precision, recall and F1, and the mean IoU."""
    iou, mean = (intervals or {}).get("iou"), (intervals or {}).get("mean_iou")
    rows = [
        [
            name,
            ", ".join(map(str, comparison.codes[place])),
            amount(confusion.truth[place]),
            ratio(confusion.iou[place]),
            *([_span(iou.low[place], iou.high[place])] if iou else []),
            *(ratio(getattr(confusion, each)[place]) for each in ("precision", "recall", "f1")),
        ]
        for place, name in enumerate(confusion.names)
    ]
    spans = [_span(mean.low, mean.high)] if mean else []
    rows.append(["mean", "", amount(confusion.judged), ratio(confusion.mean_iou), *spans, "", "", ""])
    header = ["class", "codes", "points", "IoU", *([INTERVAL] if intervals else []), "precision", "recall", "F1"]
    return Table(title, header, rows)


def confusion_table(confusion: Confusion, title: str, words: str = "") -> Table:
    """What became of each class, with the share of the class as shade, and its IoU."""
    has_others = bool(confusion.counts[:, -1].any())
    counts = confusion.counts if has_others else confusion.counts[:, :-1]
    parts = counts / np.maximum(confusion.truth, np.finfo(float).tiny)[:, None]
    return Table(
        title,
        ["true class", *confusion.names, *([OTHERS] if has_others else []), "IoU"],
        [
            [name, *map(amount, row), ratio(iou)]
            for name, row, iou in zip(confusion.names, counts, confusion.iou, strict=True)
        ],
        words,
        {(row, column + 1): float(part) for (row, column), part in np.ndenumerate(parts)},
    )


def view_table(title: str, kind: str, views: Sequence[tuple[str, Confusion]], words: str = "") -> Table:
    """IoU of each class in every view, each a ``kind`` of thing, with the mean and the accuracy."""
    names = views[0][1].names if views else ()
    rows = [
        [word, amount(each.judged), *map(ratio, each.iou), ratio(each.mean_iou), ratio(each.accuracy)]
        for word, each in views
    ]
    return Table(title, [kind, "points", *names, "mean IoU", "accuracy"], rows, words)


def calibration_table(found: Calibration) -> Table:
    """Confidence and accuracy by tenth."""
    num_bins = len(found.points)
    each = zip(found.points, found.mean_confidence, found.accuracy, strict=True)
    rows = [
        [f"{place / num_bins:.1f} to {(place + 1) / num_bins:.1f}", amount(points), ratio(mean), ratio(share)]
        for place, (points, mean, share) in enumerate(each)
        if points
    ]
    words = (
        f"Expected calibration error {found.expected_error:.3f}: so far apart are the mean confidence and the accuracy "
        "of a tenth, as a mean over points."
    )
    return Table("Calibration", ["confidence", "points", "mean confidence", "accuracy"], rows, words)


def _whole_table(found: "Evaluation") -> Table:
    named = {"mean IoU": "mean_iou", "overall accuracy": "accuracy", "Cohen's kappa": "kappa"}
    spans = {name: _span(each.low, each.high) for name, each in found.intervals.items() if each.low.ndim == 0}
    rows = [
        [
            words,
            ratio(getattr(found.points, name)),
            *([spans[name]] if spans else []),
            ratio(getattr(found.area, name)),
        ]
        for words, name in named.items()
    ]
    rows.append(["compared", amount(found.points.judged), *([""] if spans else []), amount(found.area.judged)])
    return Table("All classes", ["figure", "by points", *([INTERVAL] if spans else []), "by m²"], rows)


def _tile_table(found: "Evaluation", most: int) -> Table:
    def mean(tile: tuple[str, Confusion]) -> float:
        return float(np.nan_to_num(tile[1].mean_iou, nan=2.0))

    worst = sorted(found.tiles, key=mean)[:most]
    left = len(found.tiles) - len(worst)
    words = f"The {len(worst):,} worst of {len(found.tiles):,}; JSON has all." if left else "The worst first."
    return view_table("Tiles", "tile", worst, words)


def _ignored_table(found: "Evaluation") -> Table:
    rows = [[found.named(code), amount(count)] for code, count in found.ignored.items()]
    return Table("Codes of the truth that are not judged", ["code", "points"], rows)


def _based(bases: Mapping[str, int]) -> str:
    words = (f"{base} ({count:,} tile{'s' * (count != 1)})" for base, count in bases.items())
    return f"Height {', '.join(words)}."


def _span(low: Any, high: Any) -> str:
    return NONE if np.isnan(low) else f"{ratio(low)}–{ratio(high)}"


def ratio(value: float) -> str:
    """A share with three digits."""
    return NONE if np.isnan(value) else f"{value:.3f}"


def amount(value: float) -> str:
    """Points or square metres; of the latter a digit behind the point if they are few."""
    return f"{value:,.1f}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"
