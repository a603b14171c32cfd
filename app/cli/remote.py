"""``pointserve predict --url``: the same, computed by a server."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .job import Job
from .terminal import paused, progress, results, warn
from .waits import warn_once

if TYPE_CHECKING:
    from app.client.client import Prediction
    from app.errors import Problem


def predict(jobs: Sequence[Job], url: str, key: str, options: Mapping[str, str | int | None]) -> None:
    """Send the files of ``jobs`` one by one with ``options`` of POST /predict, and write what comes back."""
    from app.client.client import PATIENCE_S, Client

    warn_of = warn_once(url, PATIENCE_S)
    with progress() as bar:
        task = bar.add_task(f"asking {url}", total=len(jobs))

        def on_wait(problem: "Problem", wait_s: float) -> None:
            warn_of(problem, wait_s)
            bar.update(task, description=f"again in {max(1, math.ceil(wait_s))} s: {problem.detail}")

        client = Client(url, key, on_wait=on_wait)
        for job in jobs:

            def on_sent(sent: int, total: int, job: Job = job) -> None:
                share = sent / max(1, total)
                what = f"sending {job.file.name}, {share:.0%}" if share < 1 else f"waiting for {job.path.name}"
                bar.update(task, description=what)

            given = {name: value for name, value in options.items() if value not in (None, "")}
            answer = client.predict(job.file, output=job.output, to=job.path, on_sent=on_sent, **given)
            bar.advance(task)
            with paused(bar):
                _show(job, answer)


def _show(job: Job, answer: "Prediction") -> None:
    for warning in answer.warnings:
        warn(f"{job.file.name}: {warning}")
    passes = f", {answer.passes} passes" if answer.passes > 1 else ""
    total_s = sum(answer.timings_ms.values()) / 1000
    results.print(
        f"{job.file} → {job.path}: {answer.num_points:,} points by {answer.model} in {total_s:.2f} s{passes}",
        markup=False,
        soft_wrap=True,
    )
    stages = ", ".join(f"{name} {spent_ms / 1000:.2f} s" for name, spent_ms in answer.timings_ms.items())
    results.print(f"  {stages}", markup=False, soft_wrap=True)
