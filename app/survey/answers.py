"""The answers of tiles, put into their place whole."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.survey import files, target
from app.survey.tile import Tile
from app.survey.workers import Task

PARTIAL = ".partial"  # folder of files that are not whole yet, in that of the answers


def place(chunks: Iterable[bytes], task: Task, tile: Tile) -> target.Written:
    """Write ``chunks`` to ``task.output`` whole or not at all, as ``target.write`` does.

    Raises what that raises, and BadCloud if the file of ``tile`` has changed since the survey was planned.
    """
    return target.write(
        task.output, chunks, task.partial, lambda: files.check_version(tile), is_passing=task.is_passing
    )


def place_file(file: Path, task: Task, tile: Tile) -> target.Written:
    """Have ``file``, in ``task.partial``, appear as ``task.output``; raises what ``place`` does."""
    return target.place(task.output, file, lambda: files.check_version(tile))


@contextmanager
def appearing(task: Task, tile: Tile) -> Iterator[int]:
    """As ``place``, for who writes the answer himself: the descriptor of ``target.appearing``."""
    where, check = (Path(task.output), Path(task.partial)), lambda: files.check_version(tile)
    with target.appearing(*where, check, is_passing=task.is_passing) as part:
        yield part
