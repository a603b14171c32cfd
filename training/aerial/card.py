"""The figures of a model's card, from labelled tiles, through the steps of the service.

    PYTHONPATH=.:libs/sparseops:libs/pointops python training/aerial/card.py --data FOLDER [--model FOLDER] [--exact]

FOLDER holds LAS or LAZ with ASPRS codes. Prints tables in Markdown: IoU pooled over the tiles with its interval over
tiles, as they are, in mode=exact and mode=vote if asked for, thinned to a point per square metre, and without return
numbers; then by tile.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.clouds.comparison import Comparison
from app.confusion import Confusion, pooled
from app.evaluate.interval import Interval, intervals
from app.evaluate.markdown import table
from app.evaluate.tables import Table, ratio
from app.options import Mode, Options
from app.pipeline.segmenter import Segmenter
from app.zoo.experiment import find
from app.zoo.loading import load_model

RETURNS = ("return_number", "number_of_returns")
CELL_M = 10.0
RESAMPLES, SEED = 1000, 0


def as_it_is(cloud: Cloud) -> Cloud:
    """The cloud itself."""
    return cloud


def thinned(cloud: Cloud) -> Cloud:
    """About a point per square metre of it, by chance."""
    kept = np.random.default_rng(SEED).random(len(cloud)) * density_per_m2(cloud) < 1
    return cloud.taken(kept)


def without_returns(cloud: Cloud) -> Cloud:
    """As a file without return numbers."""
    return replace(cloud, extra={name: values for name, values in cloud.extra.items() if name not in RETURNS})


VARIANTS: dict[str, tuple[Mode, Callable[[Cloud], Cloud]]] = {
    "as it is": (Mode.FAST, as_it_is),
    "as it is, `mode=exact`": (Mode.EXACT, as_it_is),
    "as it is, `mode=vote`": (Mode.VOTE, as_it_is),
    "thinned to 1 point per m²": (Mode.FAST, thinned),
    "without return numbers": (Mode.FAST, without_returns),
}


def density_per_m2(cloud: Cloud) -> float:
    """Points per square metre of the cells of 10 m that hold any, without what of them lies beyond the tile."""
    metres = [axis.metres for axis in cloud.units.axes[:2]] if cloud.units else [1.0] * 2
    xy = (cloud.xyz[:, :2] - cloud.xyz[:, :2].min(0)) * metres
    occupied = np.unique(xy // CELL_M, axis=0)
    return len(cloud) / float(np.minimum(CELL_M, xy.max(0) - CELL_M * occupied).prod(1).sum())


def clouds(folder: Path) -> Iterator[tuple[str, Cloud]]:
    """Name and cloud of every LAS and LAZ file of a folder."""
    for path in sorted([*folder.glob("*.laz"), *folder.glob("*.las")]):
        yield path.stem, formats.read(memoryview(path.read_bytes()), filename=path.name)


def judged(segmenter: Segmenter, cloud: Cloud, mode: Mode) -> Confusion:
    """The labels of ``cloud`` against its classification."""
    labels = segmenter.segment(cloud, Options(mode=mode)).labels
    comparison = Comparison.of_model(segmenter.procedure.classes, segmenter.procedure.name)
    return comparison.confusion(cloud.extra["classification"], labels)


def main() -> None:
    """Label every variant of every tile, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="", help="experiment folder; the bundled model without it")
    parser.add_argument("--exact", action="store_true", help="modes exact and vote, too, which take longer")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    segmenter = load_model(find(given.model)[0]).segmenter(device)
    comparison = Comparison.of_model(segmenter.procedure.classes, segmenter.procedure.name)
    chosen = {name: each for name, each in VARIANTS.items() if given.exact or each[0] is Mode.FAST}
    confusions: dict[str, list[Confusion]] = {name: [] for name in chosen}
    tiles = []
    for name, cloud in clouds(given.data):
        for variant, (mode, change) in chosen.items():
            confusions[variant].append(judged(segmenter, change(cloud), mode))
        tiles.append((name, density_per_m2(cloud)))
    print(table(Table("By input", header(comparison), [row(comparison, *each) for each in confusions.items()], WORDS)))
    print()
    print(table(by_tile(comparison, tiles, confusions["as it is"])))


WORDS = (
    f"IoU, pooled over the points of all tiles; in brackets where the middle 95 % lie if as many tiles are drawn with "
    f"replacement ({RESAMPLES:,} draws, seed {SEED}). The mean is that of the classes with vegetation as one."
)


def header(comparison: Comparison) -> list[str]:
    """Classes with vegetation as one, their mean, and the kinds of vegetation alone."""
    merged, greens = parts(comparison)
    return ["input", *merged.names, "mean", *(f"{comparison.names[place]} alone" for place in greens)]


def parts(comparison: Comparison) -> tuple[Comparison, list[int]]:
    """The classes with vegetation as one, and the places of those that this puts together."""
    empty = Confusion(comparison.names, np.zeros((len(comparison.names), len(comparison.names) + 1), np.int64))
    found = comparison.vegetation_as_one(empty)
    if found is None:
        return comparison, []
    return found[0], [place for place, name in enumerate(comparison.names) if name not in found[0].names]


def merge(comparison: Comparison, confusion: Confusion) -> Confusion:
    """``confusion`` with vegetation as one class."""
    found = comparison.vegetation_as_one(confusion)
    return confusion if found is None else found[1]


def row(comparison: Comparison, name: str, tiles: list[Confusion]) -> list[str]:
    """The IoU of a variant, with intervals."""
    merged = [merge(comparison, each) for each in tiles]
    whole, apart = intervals(merged, RESAMPLES, SEED), intervals(tiles, RESAMPLES, SEED)
    cells = [told(value, whole.get("iou"), place) for place, value in enumerate(pooled(merged).iou)]
    cells.append(told(pooled(merged).mean_iou, whole.get("mean_iou"), ()))
    greens = parts(comparison)[1]
    return [name, *cells, *(told(pooled(tiles).iou[place], apart.get("iou"), place) for place in greens)]


def told(value: float, interval: Interval | None, place: int | tuple[()]) -> str:
    """A figure with its interval."""
    if interval is None or np.isnan(value):
        return ratio(value)
    return f"{ratio(value)} ({ratio(interval.low[place])}–{ratio(interval.high[place])})"


def by_tile(comparison: Comparison, tiles: list[tuple[str, float]], confusions: list[Confusion]) -> Table:
    """IoU of every tile as it is."""
    rows = [
        [name, f"{density:.2g}", *map(ratio, merge(comparison, confusion).iou)]
        for (name, density), confusion in zip(tiles, confusions, strict=True)
    ]
    return Table("By tile", ["tile", "points per m²", *parts(comparison)[0].names], rows)


if __name__ == "__main__":
    main()
