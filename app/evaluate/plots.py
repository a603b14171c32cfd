"""Plots as shapes of SVG, which the template draws."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.confusion import Confusion
from app.evaluate.calibration import Calibration
from app.evaluate.interval import Interval
from app.evaluate.tables import amount, ratio

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a0177", "#6b7785")
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 640.0, 150.0, 20.0, 10.0, 34.0
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ROW = 26.0
MOST_DOTS = 2000  # of tiles


@dataclass
class Plot:
    """Shapes in a box of ``WIDTH`` by ``height``: each has a ``kind`` (line, rect, circle, text, path), attributes, and
    may have a ``title``, which shows when it is pointed at."""

    title: str
    height: float
    words: str = ""
    shapes: list[dict[str, Any]] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)  # name and color of what is drawn

    def add(self, kind: str, text: str = "", title: str = "", **attributes: object) -> None:
        """A shape; names of ``attributes`` have - where SVG has it as _."""
        named = {
            name.rstrip("_").replace("_", "-"): round(value, 2) if isinstance(value, float) else value
            for name, value in attributes.items()
        }
        self.shapes.append({"kind": kind, "text": text, "title": title, "attributes": named})


def color(place: int) -> str:
    """Of class ``place``."""
    return COLORS[place % len(COLORS)]


def class_bars(confusion: Confusion, intervals: dict[str, Interval]) -> Plot:
    """A bar of IoU for each class, with its interval."""
    plot = _across("IoU by class", len(confusion.names), "Whiskers: 95 % interval over tiles." if intervals else "")
    for place, name in enumerate(confusion.names):
        y, iou = TOP + ROW * (place + 0.5), float(confusion.iou[place])
        plot.add("text", name, x=LEFT - 8, y=y + 4, text_anchor="end")
        if np.isnan(iou):
            continue
        plot.add(
            "rect", title=f"{name}: {ratio(iou)}", x=LEFT, y=y - 8, width=_x(iou) - LEFT, height=16, fill=color(place)
        )
        if "iou" in intervals:
            low, high = _x(float(intervals["iou"].low[place])), _x(float(intervals["iou"].high[place]))
            plot.add("path", d=f"M{low:.1f} {y - 5}v10M{low:.1f} {y}H{high:.1f}M{high:.1f} {y - 5}v10", class_="mark")
    return plot


def tile_dots(tiles: Sequence[tuple[str, Confusion]]) -> Plot:
    """A dot of IoU for each class and tile."""
    names = tiles[0][1].names
    plot = _across("IoU by tile", len(names), "A dot is a tile; the line is the median.")
    step = max(1, -(-len(tiles) // MOST_DOTS))
    for place, name in enumerate(names):
        y = TOP + ROW * (place + 0.5)
        plot.add("text", name, x=LEFT - 8, y=y + 4, text_anchor="end")
        values = np.array([confusion.iou[place] for _, confusion in tiles])
        for tile, value in list(zip((tile for tile, _ in tiles), values, strict=True))[::step]:
            if not np.isnan(value):
                plot.add(
                    "circle", title=f"{tile}: {ratio(value)}", cx=_x(value), cy=y, r=4, fill=color(place), opacity=0.6
                )
        if (~np.isnan(values)).any():
            middle = _x(float(np.nanmedian(values)))
            plot.add("path", d=f"M{middle:.1f} {y - 9}v18", class_="mark")
    return plot


def view_lines(title: str, views: Sequence[tuple[str, Confusion]], words: str = "") -> Plot:
    """IoU of each class along ``views``, with the share of points as bars."""
    plot = Plot(title, 260.0, words)
    left = 44.0
    bottom = plot.height - BOTTOM
    for tick in TICKS:
        y = _y(tick, bottom)
        plot.add("line", x1=left, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid")
        plot.add("text", f"{tick:.1f}", x=left - 6, y=y + 4, text_anchor="end")
    step = (WIDTH - RIGHT - left) / max(1, len(views))
    whole = sum(confusion.judged for _, confusion in views)
    for place, (word, confusion) in enumerate(views):
        share = float(confusion.judged / whole)
        top = _y(share, bottom)
        where = f"{word}: {amount(confusion.judged)} points, {share:.1%}"
        plot.add(
            "rect",
            title=where,
            x=left + step * (place + 0.2),
            y=top,
            width=0.6 * step,
            height=bottom - top,
            class_="share",
        )
        plot.add("text", word, x=left + step * (place + 0.5), y=bottom + 18, text_anchor="middle")
    for row, name in enumerate(views[0][1].names if views else ()):
        points = [
            (left + step * (place + 0.5), _y(float(confusion.iou[row]), bottom), word, float(confusion.iou[row]))
            for place, (word, confusion) in enumerate(views)
            if not np.isnan(confusion.iou[row])
        ]
        if not points:
            continue
        plot.keys.append((name, color(row)))
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in points)
        plot.add("path", d=path, fill="none", stroke=color(row), stroke_width=2)
        for x, y, word, value in points:
            plot.add("circle", title=f"{name}, {word}: {ratio(value)}", cx=x, cy=y, r=4, fill=color(row))
    return plot


def reliability(found: Calibration) -> Plot:
    """Accuracy over confidence, with the share of points in each bin as bars."""
    plot = Plot(
        "Calibration",
        300.0,
        f"Share of right labels by confidence; on the dashed line both are equal. Expected calibration error "
        f"{found.expected_error:.3f}. Bars: share of the points.",
    )
    left, bottom = 44.0, plot.height - BOTTOM
    width = 400.0 - left - RIGHT
    for tick in TICKS:
        y = _y(tick, bottom)
        plot.add("line", x1=left, x2=left + width, y1=y, y2=y, class_="grid")
        plot.add("text", f"{tick:.1f}", x=left - 6, y=y + 4, text_anchor="end")
        plot.add("text", f"{tick:.1f}", x=left + width * tick, y=bottom + 18, text_anchor="middle")
    shares = found.points / max(1, found.points.sum())
    num_bins = len(shares)
    for place, share in enumerate(shares):
        top = _y(float(share), bottom)
        plot.add(
            "rect",
            title=f"{amount(found.points[place])} points",
            x=left + width * place / num_bins + 1,
            y=top,
            width=width / num_bins - 2,
            height=bottom - top,
            class_="share",
        )
    plot.add(
        "line", x1=left, x2=left + width, y1=_y(0, bottom), y2=_y(1, bottom), class_="mark", stroke_dasharray="5 4"
    )
    pairs = [
        (left + width * float(mean), _y(float(right), bottom), float(mean), float(right))
        for mean, right in zip(found.mean_confidence, found.accuracy, strict=True)
        if not np.isnan(mean)
    ]
    if pairs:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in pairs)
        plot.add("path", d=path, fill="none", stroke=color(0), stroke_width=2)
    for x, y, mean, right in pairs:
        plot.add("circle", title=f"confidence {ratio(mean)}: {ratio(right)} right", cx=x, cy=y, r=4, fill=color(0))
    return plot


def _across(title: str, num_rows: int, words: str) -> Plot:
    """A plot of rows along an axis from 0 to 1."""
    plot = Plot(title, TOP + ROW * num_rows + BOTTOM, words)
    bottom = plot.height - BOTTOM
    for tick in TICKS:
        plot.add("line", x1=_x(tick), x2=_x(tick), y1=TOP, y2=bottom, class_="grid")
        plot.add("text", f"{tick:.1f}", x=_x(tick), y=bottom + 18, text_anchor="middle")
    return plot


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _y(share: float, bottom: float) -> float:
    return bottom - (bottom - TOP) * share
