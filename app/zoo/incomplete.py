"""Whether a file of weights that cannot be read may be whole in a moment, or is refused for what it is."""

import zipfile
from pathlib import Path

from app.errors import BadModel, UnreadableModel
from app.pickles.archive import BROKEN_ZIP, LFS_POINTER, ZIP_MAGIC, is_stream, kind_of

from .stable_file import ChangedError


def refusal(error: Exception, path: Path, told: str) -> BadModel:
    """The problem with ``path`` that ``error`` is, in the words ``told``: UnreadableModel where it may pass."""
    return (UnreadableModel if _may_pass(error, path) else BadModel)(f"{path.name}: {told}")


def _may_pass(error: Exception, path: Path) -> bool:
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
