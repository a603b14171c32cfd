"""Files of weights that cannot be read: those that may be whole in a moment, and those that are refused for good."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from app.errors import BadModel, UnreadableModel
from app.pickles.archive import BROKEN_ZIP, LFS_POINTER, ZIP_MAGIC, DamagedError, is_stream
from app.pickles.unpickle import UnreadableError

from .stable_file import ChangedError
from .weights_file import kind_of


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A block that reads the weights at ``path``.

    Raises UnreadableModel if they cannot be read now and may be later, BadModel if they never can; both name the file.
    """
    try:
        yield
    except (DamagedError, UnreadableError, OSError, SafetensorError, BadModel) as error:
        kind = UnreadableModel if _is_transient(error, path) else BadModel
        raise kind(f"{path.name}: {_reason(error, path)}") from error


def _reason(error: Exception, path: Path) -> str:
    """What went wrong, in words for users."""
    if isinstance(error, OSError):
        return f"the file cannot be read: {error.strerror}"
    if not isinstance(error, SafetensorError):
        return str(error)
    with path.open("rb") as file:
        kind = kind_of(file.read(64))
    other = f"this is {kind}" if kind and "safetensors" not in kind else "its header and its length do not agree"
    return f"this is no whole file of safetensors: {other}"


def _is_transient(error: Exception, path: Path) -> bool:
    """Whether the same file may be readable in a moment."""
    if isinstance(error, BadModel):
        return isinstance(error, UnreadableModel)
    return isinstance(error, (OSError, ChangedError)) or _ends_early(path)


def _ends_early(path: Path) -> bool:
    """Whether a file that is damaged begins as weights do; the directory of a zip is its end, so it is whole then."""
    try:
        if zipfile.is_zipfile(path):
            return False
        with path.open("rb") as file:
            start = file.read(64)
    except BROKEN_ZIP:  # OSError among them
        return True
    if not start or start.startswith(ZIP_MAGIC) or is_stream(start):
        return True
    kind = kind_of(start)
    is_other = start.startswith(LFS_POINTER) or (kind != "" and "safetensors" not in kind)
    return path.suffix == ".safetensors" and not is_other
