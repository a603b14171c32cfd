"""How commands talk: results on stdout, progress and warnings on stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

results = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


def progress() -> Progress:
    """A progress bar on stderr that goes away when done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
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


def warn(message: str) -> None:
    """One line of warning on stderr."""
    messages.print(f"Warning: {message}", style="yellow", markup=False, soft_wrap=True)
