"""The format of a file: by its first bytes, by what a request says, by its name."""

import zipfile

from app.clouds.catalog import FORMATS, READERS, by_suffix, function, reader_named
from app.clouds.columns import Wanted
from app.clouds.encoding import is_text
from app.clouds.memory_file import MemoryFile
from app.clouds.unsupported import refuse_known, refuse_name, refuse_text
from app.clouds.zip_directory import check_directory
from app.errors import BadCloud, UnsupportedFormat
from app.pickles.archive import LFS_POINTER

PREFIX_BYTES = 65536
NAMELESS_JSON = ".json"  # in place of the name of a file: JSON by the word of the request's Content-Type


def sniff(data: memoryview) -> str | None:
    """The format that the content shows, a key of ``READERS``; None if it shows none (headerless sweeps).

    Raises BadCloud for an empty body or a Git LFS pointer, UnsupportedFormat for a known format that is no point cloud.
    """
    if not len(data):
        raise BadCloud("The file is empty (0 bytes).")
    head = bytes(data[:PREFIX_BYTES])
    refuse_known(head)
    if found := next((name for name in READERS if FORMATS[name].shows_in(head)), None):
        return (_by_member(data) if head.startswith(b"PK") else None) or found
    if is_text(head):
        text = head.lstrip()
        if text.startswith(LFS_POINTER):
            raise BadCloud(
                "This is a Git LFS pointer, not the file it stands for. Run `git lfs pull` and send the file."
            )
        refuse_text(text)
    looking = ((name, reader) for name, reader in READERS.items() if reader.looks)
    return next((name for name, reader in looking if function(reader, reader.looks)(head)), None)


def _by_member(data: memoryview) -> str | None:
    """The format of a zip by a file in it."""
    check_directory(data)
    try:
        with zipfile.ZipFile(MemoryFile(data)) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except Exception:  # a damaged directory makes zipfile raise many things; the reader of NPZ says what is wrong
        return None
    return next((name for name in READERS if FORMATS[name].member in members - {""}), None)


def find_format(data: memoryview, filename: str = "", format: str | None = None, columns: Wanted | None = None) -> str:
    """The key of ``READERS`` for ``data``: by its content, then by ``format``, ``filename``, ``columns``.

    Raises UnsupportedFormat if they show none, or contradict each other.
    """
    wanted = reader_named(format) if format else None
    if format and not wanted:
        raise UnsupportedFormat(f"Unknown format '{format:.40}'; known are {', '.join(READERS)}.")
    shown = sniff(data)
    if wanted and shown and READERS[wanted].module != READERS[shown].module:
        raise UnsupportedFormat(
            f"format={format:.40} was given, but the content is {shown}. Leave format= out, or correct it: it is the "
            "format of the file that is sent; output= is that of the answer."
        )
    if wanted:
        return shown or wanted  # las for a laz, too
    by_name = _by_filename(filename)
    content = FORMATS[shown].content if shown else ""
    if content and filename == NAMELESS_JSON and shown != "json":
        raise UnsupportedFormat(
            "The Content-Type says application/json, but the body holds rows of numbers. Send a file as "
            f"application/octet-stream, or say format={shown}."
        )
    if shown and content and by_name and by_name not in (shown, *FORMATS[shown].named):
        raise UnsupportedFormat(
            f"The file is called '{filename:.100}', but holds {content}. If that is meant, say "
            f"format={shown}; else send the whole file, as programs write {by_name}."
        )
    if not shown and not by_name:
        refuse_name(filename)
    name = shown or by_name or ("bin" if isinstance(columns, tuple) else None)
    if name is None:
        raise _unknown(data, filename)
    if name == "nuscenes" and isinstance(columns, tuple):
        return "bin"
    return name


def _unknown(data: memoryview, filename: str) -> UnsupportedFormat:
    """The error for a file if neither content nor name show its format."""
    if is_text(bytes(data[:PREFIX_BYTES])):
        return UnsupportedFormat(
            "This is text, but no line near its start begins with three numbers, as a table of points does; "
            f"formats that are read: {', '.join(READERS)}."
        )
    shows = f"Neither the content nor the name '{filename:.100}' shows" if filename else "The content does not show"
    sweeps = (f"format={name}" for name, reader in READERS.items() if reader.module == "sweep" and name != "bin")
    return UnsupportedFormat(
        f"{shows} a format that is read: {', '.join(READERS)}. "
        f"A raw float32 sweep needs {', '.join(sweeps)} or columns=x,y,z,…."
    )


def _by_filename(filename: str) -> str | None:
    parts = filename.lower().rsplit("/", 1)[-1].split(".")[1:]
    return next(filter(None, (by_suffix("." + ".".join(parts[i:])) for i in range(len(parts)))), None)
