"""mode=fast beside mode=exact: how many labels agree, and what each takes, on the processor.

    python benchmarks/modes.py [--golden tests/golden] [--max-passes 128] [TILE.laz …]

Goldens (pipeline_* and experiments/*) run with their own models, made-up clouds and random weights, where labels are
near chance; tiles run with the bundled model, and IoU is against the classification in them. Each mode runs once, after
a first fast pass. Seconds are of the clock and, in brackets, of the processor, which the ratio is of. Prints tables in
Markdown.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from timing import machine

from app.clouds import formats
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.comparison import Comparison
from app.options import Mode, Options
from app.pipeline.segmenter import Segmenter
from app.settings import MAX_PASSES
from app.verify.arrays import read
from app.verify.pipelines import cloud_of
from app.zoo import experiment, loading, procedure_parser

HEADER = ("cloud", "points", "views", "passes", "fast, s", "exact, s", "ratio", "labels agree")
SCORED = (*HEADER, "mIoU fast", "mIoU exact", "points that change: to right / to wrong")


def goldens(folder: Path) -> Iterator[tuple[str, Segmenter, Cloud]]:
    """Name, model and cloud of every case that has the whole procedure."""
    for case in sorted(folder.glob("pipeline_*")):
        config = json.loads((case / "config.json").read_text())
        network = loading.build(config["model"], load_file(case / "weights.safetensors"))
        yield (
            case.name,
            Segmenter(network, procedure_parser.parse(case.name, config)),
            cloud_of(read(case / "input.npz")),
        )
    for case in sorted(folder.glob("experiments/*")):
        model = loading.load_model(case)
        cloud = cloud_of(read(case / "expected.npz"))
        yield case.name, Segmenter(model.network, model.experiment.procedure), cloud


def compare(segmenter: Segmenter, cloud: Cloud, max_passes: int) -> tuple[Segmentation, Segmentation, list[str]]:
    """The answers of both modes, and the cells that say how they compare."""
    segmenter.segment(cloud)
    seconds, answers = [], []
    for mode in Mode:
        start, start_cpu = time.perf_counter(), time.process_time()
        answers.append(segmenter.segment(cloud, Options(mode=mode, max_passes=max_passes)))
        seconds.append((time.perf_counter() - start, time.process_time() - start_cpu))
    fast, exact = answers
    made, wanted = exact.meta.passes, exact.meta.passes_wanted
    passes = f"{made}" if made == wanted else f"{made} of {wanted}"
    agree = float((fast.labels == exact.labels).mean())
    views = max(1, len(segmenter.procedure.aug_transform))
    cells = [f"{len(cloud):,}", f"{views}", passes, *(f"{clock:.2f} ({cpu:.2f})" for clock, cpu in seconds)]
    return fast, exact, [*cells, f"{seconds[1][1] / seconds[0][1]:.1f} ×", f"{100 * agree:.2f} %"]


def scores(cloud: Cloud, fast: Segmentation, exact: Segmentation) -> list[str]:
    """Cells that say which mode is nearer to the classification of the file."""
    truth = cloud.extra["classification"]
    code_of = {info.id: info.asprs for info in fast.meta.classes}
    right = [np.isin(truth, list(code_of.values())) & (_codes(each.labels, code_of) == truth) for each in (fast, exact)]
    gained, lost = np.count_nonzero(right[1] & ~right[0]), np.count_nonzero(right[0] & ~right[1])
    comparison = Comparison.of_model(fast.meta.classes, fast.meta.model)
    found = [comparison.confusion(truth, each.labels).mean_iou for each in (fast, exact)]
    return [f"{each:.4f}" for each in found] + [f"{gained:,} / {lost:,}"]


def _codes(labels: np.ndarray, code_of: dict[int, int | None]) -> np.ndarray:
    codes = np.full(len(labels), -1)
    for label, code in code_of.items():
        codes[labels == label] = -1 if code is None else code
    return codes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, default=Path("tests/golden"))
    parser.add_argument("--max-passes", type=int, default=MAX_PASSES)
    parser.add_argument("tiles", nargs="*", type=Path)
    arguments = parser.parse_args()
    print(f"# Modes\n\n{machine()}. Seconds of one run each: clock (processor).\n\n## Goldens\n")
    _head(HEADER)
    for name, segmenter, cloud in goldens(arguments.golden):
        _row([name, *compare(segmenter, cloud, arguments.max_passes)[2]])
    if not arguments.tiles:
        return
    (bundled,) = experiment.find("")
    model = loading.load_model(bundled)
    segmenter = Segmenter(model.network, model.experiment.procedure)
    print(f"\n## Tiles, {model.experiment.name}\n")
    _head(SCORED)
    for tile in arguments.tiles:
        cloud = formats.read(memoryview(tile.read_bytes()), filename=tile.name)
        fast, exact, cells = compare(segmenter, cloud, arguments.max_passes)
        _row([tile.stem, *cells, *scores(cloud, fast, exact)])


def _head(cells: Sequence[str]) -> None:
    _row(cells)
    _row(["---", *["---:"] * (len(cells) - 1)])


def _row(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
