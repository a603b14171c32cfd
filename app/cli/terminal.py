"""How commands talk: results on stdout, progress and warnings on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

results = Console(highlight=False)
messages = Console(stderr=True, highlight=False)
Item = TypeVar("Item")


def progress() -> Progress:
    """A progress bar on stderr that goes away when done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=messages,
        transient=True,
        redirect_stdout=False,
        disable=not messages.is_terminal,
    )


@contextmanager
def paused(bar: Progress) -> Iterator[None]:
    """Take ``bar`` away while something else is printed."""
    bar.stop()
    yield
    bar.start()


def advancing(bar: Progress, task: TaskID, work: Callable[[Item], None]) -> Callable[[Item], None]:
    """``work`` that moves ``task`` on by one when it ends, however it ends."""

    def step(item: Item) -> None:
        try:
            work(item)
        finally:
            bar.advance(task)

    return step


@contextmanager
def passes_of(bar: Progress) -> Iterator[Callable[[float, int], None]]:
    """A function that shows how many passes of how many are made; its line is there from the first call to the end."""
    tasks: list[TaskID] = []

    def on_passes(passes: float, passes_wanted: int) -> None:
        if not tasks:
            tasks.append(bar.add_task("passes", total=passes_wanted))
        bar.update(tasks[0], completed=round(passes), refresh=True)

    yield on_passes
    for task in tasks:
        bar.remove_task(task)


def warn(message: str) -> None:
    """One line of warning on stderr."""
    messages.print(f"Warning: {message}", style="yellow", markup=False, soft_wrap=True)
