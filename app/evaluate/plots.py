"""Plots as shapes of SVG, which the template draws."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.confusion import Confusion
from app.evaluate.calibration import Calibration
from app.evaluate.interval import Interval
from app.evaluate.tables import amount, ratio

COLORS = (
    *("#2f7ed8", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#9a57d3", "#7f8c99"),
    *("#e6375a", "#7cae00", "#00a6a6", "#a0602c", "#e69f00", "#6f6fe0", "#8f9e3f", "#c94fb5"),
)
WIDTH, SIDE, TOP, BOTTOM = 440.0, 12.0, 10.0, 40.0
TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ROW = 38.0  # a line of words above a bar
LINE = 15.0  # of words
MOST_DOTS = 2000  # of tiles
AXIS = 34.0  # left of what stands on an axis
SHARES = "Bars: share of the points."


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

    def y(self, share: float) -> float:
        """The height of ``share`` on an axis from 0 to 1 that goes up."""
        bottom = self.height - BOTTOM
        return bottom - (bottom - TOP) * share


def color(place: int) -> str:
    """Of class ``place``."""
    return COLORS[place % len(COLORS)]


def class_bars(confusion: Confusion, intervals: dict[str, Interval]) -> Plot:
    """A bar of IoU for each class, with its interval."""
    words = "Whiskers: 95 % interval over tiles." if intervals else ""
    plot = _across("IoU by class", [f"{name} {ratio(iou)}" for name, iou in _ious(confusion)], words)
    for place, (name, iou) in enumerate(_ious(confusion)):
        y = _row(place)
        if np.isnan(iou):
            continue
        plot.add(
            "rect", title=f"{name}: {ratio(iou)}", x=SIDE, y=y - 7, width=_x(iou) - SIDE, height=14, fill=color(place)
        )
        if "iou" in intervals:
            low, high = _x(float(intervals["iou"].low[place])), _x(float(intervals["iou"].high[place]))
            plot.add("path", d=f"M{low:.1f} {y - 5}v10M{low:.1f} {y}H{high:.1f}M{high:.1f} {y - 5}v10", class_="mark")
    return plot


def tile_dots(tiles: Sequence[tuple[str, Confusion]]) -> Plot:
    """A dot of IoU for each class and tile."""
    names = tiles[0][1].names
    ious = np.array([confusion.iou for _, confusion in tiles])
    plot = _across("IoU by tile", names, "A dot is a tile; the line is the median.")
    step = max(1, -(-len(tiles) // MOST_DOTS))
    for place, values in enumerate(ious.T):
        y = _row(place)
        for tile, value in list(zip((tile for tile, _ in tiles), values, strict=True))[::step]:
            if not np.isnan(value):
                plot.add(
                    "circle", title=f"{tile}: {ratio(value)}", cx=_x(value), cy=y, r=4, fill=color(place), opacity=0.6
                )
        if (~np.isnan(values)).any():
            middle = _x(float(np.nanmedian(values)))
            plot.add("path", d=f"M{middle:.1f} {y - 9}v18", class_="mark")
    return plot


def view_lines(title: str, views: Sequence[tuple[str, Confusion]]) -> Plot:
    """IoU of each class along ``views``, with the share of points as bars."""
    right = WIDTH - SIDE
    plot = _upright(title, 270.0, SHARES, right)
    step = (right - AXIS) / max(1, len(views))
    whole = sum(confusion.judged for _, confusion in views)
    for place, (word, confusion) in enumerate(views):
        share = float(confusion.judged / whole)
        where = f"{word}: {amount(confusion.judged)} points, {share:.1%}"
        _bar(plot, where, AXIS + step * (place + 0.2), 0.6 * step, share)
        parts = word.split()
        for line, part in enumerate((parts[:-2], parts[-2:])):  # "-0.5 to" over "0.5 m"
            y = plot.y(0) + LINE * (line + 1)
            plot.add("text", " ".join(part), x=AXIS + step * (place + 0.5), y=y, text_anchor="middle")
    for row, name in enumerate(views[0][1].names if views else ()):
        ious = [float(confusion.iou[row]) for _, confusion in views]
        points = [
            (AXIS + step * (place + 0.5), iou, f"{name}, {word}: {ratio(iou)}")
            for place, ((word, _), iou) in enumerate(zip(views, ious, strict=True))
            if not np.isnan(iou)
        ]
        if points:
            plot.keys.append((name, color(row)))
            _curve(plot, points, color(row))
    return plot


def reliability(found: Calibration) -> Plot:
    """Accuracy over confidence, with the share of points in each bin as bars."""
    words = (
        f"Share of right labels (up) by confidence (right); on the dashed line both are equal. Expected calibration "
        f"error {found.expected_error:.3f}. {SHARES}"
    )
    right = WIDTH - SIDE
    plot = _upright("Calibration", 330.0, words, right)
    width, bottom = right - AXIS, plot.y(0)
    for tick in TICKS:
        plot.add("text", f"{tick:.1f}", x=AXIS + width * tick, y=bottom + LINE, text_anchor="middle")
    shares = found.points / max(1, found.points.sum())
    num_bins = len(shares)
    for place, share in enumerate(shares):
        title = f"{amount(found.points[place])} points"
        _bar(plot, title, AXIS + width * place / num_bins + 1, width / num_bins - 2, float(share))
    plot.add("line", x1=AXIS, x2=right, y1=bottom, y2=plot.y(1), class_="mark", stroke_dasharray="5 4")
    pairs = zip(found.mean_confidence.tolist(), found.accuracy.tolist(), strict=True)
    points = [
        (AXIS + width * mean, accuracy, f"confidence {ratio(mean)}: {ratio(accuracy)} right")
        for mean, accuracy in pairs
        if not np.isnan(mean)
    ]
    if points:
        _curve(plot, points, color(0))
    return plot


def _ious(confusion: Confusion) -> list[tuple[str, float]]:
    return list(zip(confusion.names, confusion.iou.tolist(), strict=True))


def _across(title: str, names: Sequence[str], words: str) -> Plot:
    """A plot of rows, each below one of ``names``, along an axis from 0 to 1."""
    plot = Plot(title, TOP + ROW * len(names) + BOTTOM, words)
    bottom = plot.height - BOTTOM
    for tick in TICKS:
        plot.add("line", x1=_x(tick), x2=_x(tick), y1=TOP, y2=bottom, class_="grid")
        plot.add("text", f"{tick:.1f}", x=_x(tick), y=bottom + LINE, text_anchor="middle")
    for place, name in enumerate(names):
        plot.add("text", name, x=SIDE, y=_row(place) - 11, class_="name")
    return plot


def _x(share: float) -> float:
    return SIDE + (WIDTH - 2 * SIDE) * share


def _row(place: int) -> float:
    return TOP + ROW * (place + 0.7)


def _upright(title: str, height: float, words: str, right: float) -> Plot:
    """A plot on an axis from 0 to 1 that goes up, as wide as to ``right``."""
    plot = Plot(title, height, words)
    for tick in TICKS:
        y = plot.y(tick)
        plot.add("line", x1=AXIS, x2=right, y1=y, y2=y, class_="grid")
        plot.add("text", f"{tick:.1f}", x=AXIS - 6, y=y + 4, text_anchor="end")
    return plot


def _bar(plot: Plot, title: str, x: float, width: float, share: float) -> None:
    """A bar of a ``share`` of the points."""
    top = plot.y(share)
    plot.add("rect", title=title, x=x, y=top, width=width, height=plot.y(0) - top, class_="share")


def _curve(plot: Plot, points: Sequence[tuple[float, float, str]], color: str) -> None:
    """Dots, each with its x, its share and its title, and the line through them."""
    path = "M" + "L".join(f"{x:.1f} {plot.y(share):.1f}" for x, share, _ in points)
    plot.add("path", d=path, fill="none", stroke=color, stroke_width=2)
    for x, share, title in points:
        plot.add("circle", title=title, cx=x, cy=plot.y(share), r=4, fill=color)
