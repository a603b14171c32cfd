"""Files that commands write."""

from collections.abc import Collection
from pathlib import Path
from uuid import uuid4

import typer


def output_format(
    wanted: str | None,
    out: Path,
    default: str | None = None,
    formats: Collection[str] | None = None,
    option: str = "--output",
) -> str:
    """One of ``formats`` (all of ``WRITERS``): the one ``wanted``, else by the suffix of ``out``, else ``default``.

    Raises typer.BadParameter if there is none; ``option`` is the one that names it.
    """
    from app.clouds.catalog import FORMATS, WRITERS

    formats = formats or WRITERS
    if wanted is not None:
        if wanted.lower() not in formats:
            raise typer.BadParameter(f"there is no format {wanted!r} to write; there are {', '.join(formats)}.")
        return wanted.lower()
    found = format_by_suffix(out.name, formats)
    if found is None and (default is None or out.suffix):
        known = ", ".join(FORMATS[name].suffix for name in formats)
        raise typer.BadParameter(
            f"{str(out)!r} does not end in a format to write; name one, as in {option} laz, or end in {known}."
        )
    return found or str(default)


def format_by_suffix(name: str, formats: Collection[str] | None = None) -> str | None:
    """The format among ``formats`` (by default all of ``WRITERS``) for files that end as ``name`` does; None if there
    is none."""
    from app.clouds.catalog import WRITERS, written_as

    return written_as(name, formats or WRITERS)


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all; folders on the way are made.

    Links stay, such as /dev/stdout. What is no file, such as a pipe, or has no name any more is written to.
    """
    target = path.resolve()
    if path.exists() and not target.is_file():
        path.write_bytes(data)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name[:40]}.{uuid4().hex}.part")  # a name of its own: others may write it too
    try:
        part.write_bytes(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
