"""One cloud of a command line."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One cloud: the file to read, the one to write and its format, a key of ``app.clouds.formats.WRITERS``."""

    file: Path
    path: Path
    output: str
