"""Files that commands write."""

from collections.abc import Collection
from pathlib import Path

import typer


def output_format(
    wanted: str | None, out: Path, default: str | None = None, formats: Collection[str] | None = None
) -> str:
    """One of ``formats`` (all of ``WRITERS``): the one ``wanted``, else by the suffix of ``out``, else ``default``."""
    from app.clouds.formats import WRITERS

    formats = formats or WRITERS
    if wanted is not None:
        if wanted.lower() not in formats:
            raise typer.BadParameter(f"there is no format {wanted!r} to write; there are {', '.join(formats)}.")
        return wanted.lower()
    suffix = out.suffix.lower()
    found = next((name for name in formats if WRITERS[name].extension == suffix), None)
    if found is None and (default is None or suffix):
        known = ", ".join(WRITERS[name].extension for name in formats)
        raise typer.BadParameter(f"{str(out)!r} does not end in a format to write; name one, or end in {known}.")
    return found or str(default)


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all; folders on the way are made. A pipe or device is written to."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
