"""One cloud of a command line, and how a command goes through many."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from app.errors import BadCloud, BadRequest, Problem

from .terminal import results


@dataclass(frozen=True)
class FileJob:
    """One cloud: the file to read, the one to write and its format, a key of ``app.clouds.catalog.WRITERS``.

    ``file`` may be the folder of a Pointcept scene, whose arrays are read together as NPZ. ``path`` is None if nothing
    is written. ``refusal`` says why the cloud is not classified, if that is known before.
    """

    file: Path
    path: Path | None
    output: str
    refusal: str = ""

    def read(self) -> memoryview:
        """What is in the file; BadRequest if it cannot be read."""
        try:
            return memoryview(_zipped(self.file) if self.file.is_dir() else self.file.read_bytes())
        except OSError as error:
            raise BadRequest(f"{self.file}: the file cannot be read: {error.strerror}.") from None

    def source(self) -> bytes | Path:
        """What is sent to a server; BadCloud if it is empty."""
        if self.file.is_dir():
            return bytes(self.read())
        if self.file.is_file() and not self.file.stat().st_size:
            raise BadCloud(f"{self.file}: The file is empty (0 bytes).")
        return self.file

    @property
    def filename(self) -> str:
        """The name of the cloud as a file, which tells its format."""
        return filename_of(self.file)

    @property
    def title(self) -> str:
        """Source and target in words."""
        return f"{self.file} → {self.path}" if self.path else str(self.file)


def filename_of(file: Path) -> str:
    """The name of a cloud as a file: a folder stands for the NPZ of its arrays."""
    return f"{file.resolve().name}.npz" if file.is_dir() else file.name


def _zipped(folder: Path) -> bytes:
    """The arrays in ``folder`` as an uncompressed NPZ; OSError if one cannot be read."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", strict_timestamps=False) as archive:
        for path in sorted(folder.glob("*.npy")):
            archive.write(path, path.name)
    return file.getvalue()


def work_through(jobs: Sequence[FileJob], work: Callable[[FileJob], None]) -> None:
    """Call ``work`` for every job. One that fails does not end the others: all are summed up, and the exit code is 1.

    Raises what a single job raised; typer.Exit if some of several failed.
    """
    if len(jobs) == 1:
        work(jobs[0])
        return
    reasons: dict[Path, str] = {}
    for job in jobs:
        try:
            if job.refusal:
                raise BadRequest(job.refusal)
            work(job)
        except Exception as error:  # a bug in one cloud's way must not take the others' answers
            reason = error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
            reasons[job.file] = " ".join(reason.split()).removeprefix(f"{job.file}: ")
    results.print(f"{len(jobs) - len(reasons)} of {len(jobs)} clouds were classified.", markup=False)
    if reasons:
        for file, reason in reasons.items():
            results.print(f"failed: {file}: {reason}", markup=False, soft_wrap=True)
        raise typer.Exit(1)
