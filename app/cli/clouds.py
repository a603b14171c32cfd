"""The files that a command line names: clouds, folders of clouds, and where their answers go."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from .job import Job
from .output import output_format


def jobs_of(sources: Sequence[Path], out: Path | None, output: str | None) -> list[Job]:
    """A job for every file of ``sources`` and for every cloud in the folders among them, at any depth.

    ``out`` is a file for one cloud, a folder for several, which then holds the folders of the clouds too; None if no
    cloud is written. Clouds in ``out`` itself are no sources.

    Raises typer.BadParameter if no source exists, a folder holds no cloud, a source would be written over, or two
    clouds to one file.
    """
    if not any(source.exists() for source in sources):
        raise typer.BadParameter(f"{sources[0]} does not exist.", param_hint="FILES")
    found = [(file, place) for source in sources for file, place in _files(source, out)]
    files = list({file.resolve(): (file, place) for file, place in reversed(found)}.values())[::-1]  # each once
    if out is None:
        return [Job(file, None, output or "npy") for file, _ in files]
    is_file = len(sources) == len(files) == 1 and not sources[0].is_dir() and not out.is_dir()
    jobs = [
        Job(file, out, output_format(output, out)) if is_file else _within(out, file, place, output)
        for file, place in files
    ]
    _check(jobs, out)
    return jobs


def _files(source: Path, out: Path | None) -> Iterator[tuple[Path, Path]]:
    """Every cloud of ``source``, and the folder that it has below it."""
    if not source.is_dir():
        yield source, Path()
        return
    from app.clouds.formats import READERS

    endings = tuple(ending for reader in READERS.values() for ending in reader.extensions)
    skipped = out.resolve() if out else None
    found = [
        path
        for path in sorted(source.rglob("*"))
        if path.name.lower().endswith(endings) and path.is_file() and skipped not in path.resolve().parents
    ]
    if not found:
        raise typer.BadParameter(
            f"there is no cloud in the folder {source}; expected files ending in {', '.join(endings)}."
        )
    yield from ((path, path.parent.relative_to(source)) for path in found)


def _within(out: Path, file: Path, place: Path, output: str | None) -> Job:
    from app.clouds.formats import WRITERS

    name = output_format(output, file)
    return Job(file, out / place / f"{file.stem}{WRITERS[name].extension}", name)


def _check(jobs: list[Job], out: Path) -> None:
    if len(jobs) > 1 and out.is_file():
        raise typer.BadParameter(f"several clouds need a folder to go to, {out} is a file.")
    sources = {job.file.resolve() for job in jobs}
    seen: set[Path] = set()
    for job in jobs:
        assert job.path is not None
        path = job.path.resolve()
        if path in sources:
            raise typer.BadParameter(f"{job.path} is read and would be written over; name another OUT.")
        if path in seen:
            raise typer.BadParameter(f"two clouds would be written to {job.path}; run them one by one.")
        seen.add(path)
