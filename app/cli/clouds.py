"""The clouds and folders that a command line names, and the paths of their answers."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from .job import FileJob, filename_of
from .output import format_by_suffix, output_format
from .terminal import warn

SCENE = "coord.npy"  # makes a folder a scene as Pointcept stores it since 1.6: an array by file, side by side
FALLBACK = "laz"


def jobs_of(sources: Sequence[Path], out: str | None, output: str | None) -> list[FileJob]:
    """A job for every file of ``sources`` and for every cloud in the folders among them, at any depth.

    ``out`` is a file for one cloud; for several clouds, or if it ends in a slash, it is a folder, which holds the
    folders of the clouds too. It is None if no cloud is written. Clouds in ``out`` itself are no sources. In a folder,
    clouds of formats that are not written go to ``FALLBACK``, with a warning; the second of two for one file is
    refused.

    Raises typer.BadParameter if no source exists, a folder holds no cloud, or a source would be written over.
    """
    if not any(source.exists() for source in sources):
        raise typer.BadParameter(f"{sources[0]} does not exist.", param_hint="FILES")
    target = None if out is None else Path(out)
    found = [(file, place) for source in sources for file, place in _files(source, target)]
    files = list({file.resolve(): (file, place) for file, place in reversed(found)}.values())[::-1]  # each once
    if out is None or target is None:
        return [FileJob(file, None, output or "npy") for file, _ in files]
    if [file for file, _ in files] == list(sources) and _is_file(out, sources):
        jobs = [FileJob(sources[0], target, output_format(output, target))]
    elif target.is_file():
        raise typer.BadParameter(f"clouds need a folder to go to, {out} is a file.")
    else:
        jobs = [_within(target, file, place, output) for file, place in files]
        if output is None:
            _tell_fallback([file for file, _ in files])
    return _checked(jobs)


def _is_file(out: str, sources: Sequence[Path]) -> bool:
    """Whether ``out`` is the file for the one cloud of ``sources``, not a folder."""
    if len(sources) > 1 or out.endswith(("/", os.sep)) or Path(out).is_dir():
        return False
    return not sources[0].is_dir() or format_by_suffix(out) is not None


def _files(source: Path, out: Path | None) -> Iterator[tuple[Path, Path]]:
    """Every cloud of ``source``, a file or the folder of a scene, and the folder that it has below it."""
    if not source.is_dir():
        yield source, Path()
        return
    from app.clouds.catalog import SUFFIXES

    skipped = out.resolve() if out else None
    found = [
        path
        for path in sorted(source.rglob("*"))
        if path.name.lower().endswith(SUFFIXES) and path.is_file() and skipped not in path.resolve().parents
    ]
    if not found:
        raise typer.BadParameter(
            f"there is no cloud in the folder {source}; expected files ending in {', '.join(SUFFIXES)}."
        )
    scenes = {path.parent for path in found if path.name == SCENE}
    clouds = dict.fromkeys(path.parent if path.suffix == ".npy" and path.parent in scenes else path for path in found)
    yield from ((path, Path() if path == source else path.parent.relative_to(source)) for path in clouds)


def _within(out: Path, file: Path, place: Path, output: str | None) -> FileJob:
    from app.clouds.catalog import FORMATS, stem

    filename = filename_of(file)
    name = output_format(output, out) if output else format_by_suffix(filename) or FALLBACK
    return FileJob(file, out / place / f"{stem(filename)}{FORMATS[name].suffix}", name)


def _tell_fallback(files: Sequence[Path]) -> None:
    names = [name for name in map(filename_of, files) if not format_by_suffix(name)]
    endings = ", ".join(sorted({Path(name).suffix or "no ending" for name in names}))
    if names:
        warn(f"{endings}: not written, so these clouds ({len(names)}) go to .{FALLBACK} files; else say --output.")


def _checked(jobs: list[FileJob]) -> list[FileJob]:
    """``jobs``, with a refusal for each that has the target of one before it."""
    sources = {job.file.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    checked = []
    for job in jobs:
        assert job.path is not None
        path = job.path.resolve()
        if path in sources:
            raise typer.BadParameter(f"{job.path} is read and would be written over; name another OUT.")
        first = taken.setdefault(path, job.file)
        refusal = "" if first == job.file else f"{job.path} is for {first} already; run this cloud by itself."
        checked.append(replace(job, refusal=refusal))
    return checked
