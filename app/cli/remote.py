"""``pointserve predict --url``: the clouds are classified by a server."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .job import FileJob, work_through
from .scores import Scores
from .terminal import advancing, paused, progress, results, warn
from .waits import asking, warn_once

if TYPE_CHECKING:
    from pointserve_client import Answer, Prediction, Problem


def predict(jobs: Sequence[FileJob], url: str, key: str, options: Mapping[str, str], score: bool = False) -> None:
    """Send the files of ``jobs`` one by one with ``options`` of a prediction as text, and write what comes back.

    For a ``score`` beside a file that is written the labels are asked for in a request of their own.
    """
    from pointserve_client import PATIENCE_S, Client, PredictionWarning

    warnings.simplefilter("ignore", PredictionWarning)  # _show prints them
    warn_of = warn_once(url, PATIENCE_S)
    scores = Scores()
    with progress() as bar:
        task = bar.add_task(f"asking {url}", total=len(jobs))

        def on_wait(problem: "Problem", wait_s: float) -> None:
            warn_of(problem, wait_s)
            bar.update(task, description=f"again in {max(1, math.ceil(wait_s))} s: {problem.detail}")

        def work(job: FileJob) -> None:
            def on_sent(sent: int, total: int) -> None:
                share = sent / max(1, total)
                what = f"sending {job.file.name}, {share:.0%}" if share < 1 else f"waiting for {job.file.name}"
                bar.update(task, description=what)

            given: dict[str, Any] = {**options, "filename": job.filename, "output": None}
            with asking():
                if job.path:
                    answer = client.predict_file(
                        job.source(), job.path, on_sent=on_sent, **given | {"output": job.output}
                    )
                if score:
                    found = client.predict(job.source(), on_sent=on_sent, **given | {"fields": None})
            with paused(bar):
                _show(job, answer if job.path else found.meta)
                if score:
                    _score(job, found, options, scores)

        try:
            with asking(), Client(url, key, on_wait=on_wait) as client:
                work_through(jobs, advancing(bar, task, work))
        finally:
            with paused(bar):
                scores.print_pooled()


def _score(job: FileJob, found: "Prediction", options: Mapping[str, str], scores: Scores) -> None:
    from app.clouds import formats
    from app.clouds.cloud import ClassInfo, Segmentation, SegmentationMeta
    from app.option_text import parse

    classes = [ClassInfo(each.id, each.name, each.color or (0, 0, 0), each.asprs) for each in found.classes]
    cloud = formats.read(job.read(), **parse(options).reading | {"filename": job.filename})
    scores.add(job, cloud, Segmentation(found.labels, SegmentationMeta(classes, model=found.meta.model)))


def _show(job: FileJob, answer: "Answer") -> None:
    from .tables import refined_words

    for warning in answer.warnings:
        warn(f"{job.file.name}: {warning}")
    passes = f", {answer.passes} passes" if answer.passes > 1 else ""
    total_s = sum(answer.timings_ms.values()) / 1000
    results.print(
        f"{job.title}: {answer.num_points:,} points by {answer.model} in {total_s:.2f} s{passes}",
        markup=False,
        soft_wrap=True,
    )
    if answer.refined:
        results.print(f"  {refined_words(answer.refined)}", markup=False, soft_wrap=True)
    stages = ", ".join(f"{name} {spent_ms / 1000:.2f} s" for name, spent_ms in answer.timings_ms.items())
    results.print(f"  {stages}", markup=False, soft_wrap=True)
