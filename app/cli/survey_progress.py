"""What ``pointserve batch`` shows while it runs and at its end."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from rich import progress as bars

from .terminal import messages, results, warn

if TYPE_CHECKING:
    from app.survey.manifest import Manifest
    from app.survey.progress import Progress

SHOWN = 20  # failed tiles, and tiles under way, that are named
LINE_S = 60.0  # between two lines where there is no terminal


class Show(Protocol):
    """Shows how far a run is, and the ``stages`` of tiles that go in pieces."""

    def __call__(self, progress: "Progress", stages: Sequence[str] = ()) -> None: ...


@contextmanager
def shown() -> "Iterator[Show]":
    """A function that shows how far a run is: as a bar on a terminal, else as a line a minute."""
    bar = bars.Progress(
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.fields[rate]}", markup=False),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )
    with bar:
        task = bar.add_task("labelling", total=None, rate="")
        last_s = time.monotonic()

        def show(progress: "Progress", stages: Sequence[str] = ()) -> None:
            nonlocal last_s
            ended = progress.num_done + progress.num_failed
            words = "; ".join([_rate(progress), *stages])
            bar.update(
                task,
                total=progress.num_wanted,
                completed=ended,
                rate=words,
                description=" ".join(progress.names[:1]) or "labelling",
            )
            if bar.disable and time.monotonic() - last_s > LINE_S:
                last_s = time.monotonic()
                messages.print(f"{ended:,} of {progress.num_wanted:,} tiles, {words}", markup=False, soft_wrap=True)

        yield show


def _rate(progress: "Progress") -> str:
    """Points a second in all and by worker, time left, failures."""
    parts = [f"{progress.points_s:,.0f} points/s"]
    if len(progress.points_by_worker) > 1:
        each = progress.points_by_worker.items()
        parts[0] += f" ({', '.join(f'{name} {points / progress.seconds:,.0f}' for name, points in sorted(each))})"
    if (left_s := progress.left_s) is not None:
        parts.append(f"{duration(left_s)} left")
    if progress.num_failed:
        parts.append(f"{progress.num_failed:,} failed")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 5 h 12 min, 3 d 4 h."""
    whole = round(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def interrupt() -> None:
    """Raise KeyboardInterrupt."""
    raise KeyboardInterrupt


@contextmanager
def signals_call(end: Callable[[], None]) -> Iterator[list[int]]:
    """Have the first SIGINT or SIGTERM call ``end``; the list holds it then. A second one has its usual effect."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])
        end()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def of_job(job: dict[str, Any], names: list[str]) -> "Progress":
    """How far a job of a server is, of which the tiles ``names`` are under way."""
    from app.survey.progress import Progress

    tiles = job["tiles"]
    done, failed = tiles["done"], tiles["failed"] + tiles["quarantined"]
    points_s = job["points_s"] or 0.0
    return Progress(
        sum(tiles.values()) - tiles["context"],
        job["points"],
        done,
        failed,
        job["points_done"],
        seconds=job["points_done"] / points_s if points_s else 0.0,
        names=names,
    )


def num_failed(manifest: "Manifest") -> int:
    """Tiles of the survey without an answer for a reason of their own."""
    from app.survey.row import State

    counts = manifest.counts()
    return counts[State.FAILED] + counts[State.QUARANTINED]


def sum_up(manifest: "Manifest", done: "Progress", unwritten: Sequence[str]) -> None:
    """Print what is done, what failed and why, and the sentences ``unwritten`` of ``survey.finish``."""
    from app.survey.row import State

    counts = manifest.counts()
    wanted = sum(counts.values()) - counts[State.CONTEXT]
    line = f"{counts[State.DONE]:,} of {wanted:,} tiles are labelled"
    if done.num_done:
        took = duration(done.seconds)
        line += f", {done.num_done:,} of them now: {done.points_done:,} points in {took}, {done.points_s:,.0f} points/s"
    results.print(f"{line}.", markup=False, soft_wrap=True)
    rows = manifest.rows(State.FAILED, State.QUARANTINED)
    failures = ((str(row.state), row.tile.name, row.error) for row in rows)
    list_failures(failures, num_failed(manifest), f"in {manifest.folder}/survey.db")
    for problem in unwritten:
        warn(problem)
    if done.stopped:
        warn(f"{done.stopped} The same command goes on from here.")


def list_failures(failures: Iterable[tuple[str, str, str]], number: int, where: str) -> None:
    """Print state, name and reason of the first of ``number`` tiles, and ``where`` the others are told."""
    for state, name, reason in islice(failures, SHOWN):
        results.print(f"{state}: {name}: {reason}", markup=False, soft_wrap=True)
    if number > SHOWN:
        results.print(f"and {number - SHOWN:,} more, {where}", markup=False, soft_wrap=True)
