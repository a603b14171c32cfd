"""Every format that is read or written, declared once; its module is imported when it is first used.

So an optional library that is missing hurts that format only, and the web process imports no decoder.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any

from app.errors import UnsupportedFormat


@dataclass(frozen=True)
class Reader:
    """How a format is read: names of functions in ``app.clouds.<module>``, and what they support.

    ``text`` says what is read, for the table of formats. ``read`` makes the cloud, ``needs`` estimates what memory that
    takes (``app.clouds.needs``), and ``looks`` says of the first bytes of a file without a mark whether they may be of
    this format. With ``takes_columns`` a request may name the columns, because the file does not; to say which of them
    feeds what is possible for every format. With ``takes_keep`` columns that nobody wants need not be decoded.
    """

    text: str
    module: str
    read: str = "read"
    needs: str = "reading_needs"
    looks: str = ""
    takes_columns: bool = False
    takes_keep: bool = False


@dataclass(frozen=True)
class Writer:
    """How a format is written: names of functions in ``app.clouds.<module>``, and what the files keep.

    ``text`` says what is written, for the table of formats. ``write`` makes the file, as bytes or in parts, ``needs``
    estimates what memory that takes. With ``keeps_columns`` the file has a place for columns without a meaning; with
    ``names_labels``, or those, a column of labels with a name. With ``keeps_source`` it is the file that came in, with
    labels, if the reader of that is in the module too.
    """

    text: str
    module: str
    media_type: str
    write: str = "write"
    needs: str = "writing_needs"
    keeps_columns: bool = False
    keeps_source: bool = False
    names_labels: bool = False


@dataclass(frozen=True)
class Format:
    """A format: its ``name`` in options, ``suffixes`` of its files, how it is read and written.

    ``mark`` is a regular expression for the first bytes, empty if they do not tell; ``member`` is a file that a zip of
    this format holds. A format that is known by ``Reader.looks`` alone says in ``content`` what its files hold: a file
    with the name of another format than those ``named`` is not taken for one.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    mark: bytes = b""
    member: str = ""
    reader: Reader | None = None
    writer: Writer | None = None
    content: str = ""
    named: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """The suffix of files that are written."""
        return self.suffixes[0] if self.suffixes else f".{self.name}"

    def shows_in(self, head: bytes) -> bool:
        """Whether ``head``, the first bytes of a file, has the mark."""
        return bool(self.mark) and re.match(self.mark, head) is not None


# The order is that of preference, if a request accepts several formats equally.
# Marks and ``looks`` meet hostile bytes: they match in one way only, so that a miss takes no more than linear time.
_DECLARED = (
    Format(
        "json",  # the first: an answer is JSON if the request leaves that open
        (".json",),
        reader=Reader('JSON {"points": …, "fields": …}', "points_json", looks="looks_like_json", takes_columns=True),
        writer=Writer("JSON with labels and classes", "answer", "application/json"),
        content="JSON",
    ),
    Format(
        "las",
        (".las",),
        rb"LASF(?!(?s:.{100})[\x40-\xff])",  # the two upper bits of the point format say that it is compressed
        reader=Reader("LAS 1.0–1.5, every point format", "las", takes_keep=True),
        writer=Writer(
            *("LAS, classified", "las", "application/vnd.las", "write_las"), keeps_columns=True, keeps_source=True
        ),
    ),
    Format(
        "laz",
        (".laz",),
        rb"LASF(?s:.{100})[\x40-\xff]",
        reader=Reader("LAZ, and COPC as LAZ", "las", takes_keep=True),
        writer=Writer(
            *("LAZ, classified", "las", "application/vnd.laszip", "write_laz"), keeps_columns=True, keeps_source=True
        ),
    ),
    Format(
        "copc",
        (".copc.laz",),
        writer=Writer(
            *("COPC 1.0, classified, in the order of its octree", "las", "application/vnd.laszip+copc", "write_copc"),
            needs="copc_needs",
            keeps_columns=True,
            keeps_source=True,
        ),
    ),
    Format(
        "ply",
        (".ply",),
        rb"ply[ \t]*[\r\n]",
        reader=Reader("PLY, ascii or binary", "ply"),
        writer=Writer("PLY with labels", "ply", "application/x-ply", keeps_columns=True, keeps_source=True),
    ),
    Format(
        "pcd",
        (".pcd",),
        rb"# ?\.PCD|(?:\s*#[^\n]*\n)*\s*(?:VERSION|FIELDS|COLUMNS)\s",
        reader=Reader("PCD, ascii, binary or compressed", "pcd", looks="looks_like_pcd"),
        writer=Writer("PCD with labels", "pcd", "application/x-pcd", keeps_columns=True, keeps_source=True),
    ),
    Format("e57", (".e57",), rb"ASTM-E57", reader=Reader("E57 (needs pye57)", "e57")),
    Format(
        "npz",
        (".npz", ".zip"),
        rb"PK\x03\x04|PK\x05\x06",
        reader=Reader("NPZ, or a Pointcept sample in a zip", "npz", takes_columns=True, takes_keep=True),
        writer=Writer("NPZ with labels, coordinates, classes", "npz", "application/x-npz"),
    ),
    Format(
        "npy",
        (".npy",),
        rb"\x93NUMPY",
        reader=Reader("NPY, (N, C) or structured", "npy", takes_columns=True),
        writer=Writer("NPY, the labels", "npy", "application/x-npy"),
    ),
    Format(
        "pth",
        (".pth", ".pt", ".pkl"),
        rb"\x80(?:[\x02\x03][}\](c\x8a]|[\x04\x05]\x95)",
        member="data.pkl",
        reader=Reader(
            "Pointcept scene, a dict of arrays by torch.save or pickle", "pth", takes_columns=True, takes_keep=True
        ),
    ),
    Format("ptx", (".ptx",), reader=Reader("PTX, every scan by its pose", "ptx", looks="looks_like_ptx")),
    Format(
        "text",
        (".xyz", ".txt", ".asc", ".csv", ".tsv", ".pts", ".xyzrgb", ".xyzn"),
        reader=Reader("Text table", "text", looks="looks_like_table", takes_columns=True),
        content="rows of numbers without the header of that format",
        named=("ptx",),
    ),
    Format("bin", (".bin",), reader=Reader("Float32 sweep, by columns=", "sweep", takes_columns=True)),
    Format("kitti", reader=Reader("Float32 sweep, x y z intensity", "sweep", "read_kitti", "kitti_needs")),
    Format(
        "nuscenes",
        (".pcd.bin",),
        reader=Reader("Float32 sweep, x y z intensity ring", "sweep", "read_nuscenes", "nuscenes_needs"),
    ),
    Format("xyzrgb", reader=Reader("Float32 dump, x y z red green blue", "sweep", "read_xyzrgb", "xyzrgb_needs")),
    Format(
        "safetensors",
        writer=Writer("Labels and what was asked for, as arrays", "safetensors_writer", "application/vnd.safetensors"),
    ),
    Format("csv", writer=Writer("CSV with coordinates and labels", "points_csv", "text/csv", names_labels=True)),
    Format("view", writer=Writer("What the page shows", "view", "application/vnd.pointserve.view")),
)
FORMATS = {format.name: format for format in _DECLARED}
READERS = {format.name: format.reader for format in _DECLARED if format.reader}
WRITERS = {format.name: format.writer for format in _DECLARED if format.writer}
SUFFIXES = tuple(suffix for name in READERS for suffix in FORMATS[name].suffixes)
AMBIGUOUS = (".json", ".txt", ".csv", ".tsv", ".asc", ".zip", ".bin", ".pt", ".pkl")
"""Endings of files that are mostly something else, in a folder."""
IN_FOLDERS = tuple(suffix for suffix in SUFFIXES if suffix not in AMBIGUOUS)


def function(part: Reader | Writer, name: str) -> Callable[..., Any]:
    """The function ``name`` of a reader's or writer's module; raises UnsupportedFormat if its library is missing."""
    try:
        module = import_module(f"app.clouds.{part.module}")
    except ImportError as error:
        raise UnsupportedFormat(f"{part.text}: not installed on this server ({error}).") from None
    found: Callable[..., Any] = getattr(module, name)
    return found


def load_all() -> None:
    """Import the module of every format whose libraries are installed."""
    parts: list[Reader | Writer] = [*READERS.values(), *WRITERS.values()]
    for part in parts:
        try:
            function(part, part.needs)
        except UnsupportedFormat:
            continue


def keeps_source(output: str, format: str) -> bool:
    """Whether ``output`` keeps all that a file of ``format`` holds, such as laz that of a las."""
    return WRITERS[output].keeps_source and format in READERS and READERS[format].module == WRITERS[output].module


def keeps_whole(output: str, format: str) -> bool:
    """Whether ``output`` keeps a file of ``format`` by copying its points, so that no column need be decoded."""
    return keeps_source(output, format) and READERS[format].takes_keep


def reader_named(format: str) -> str | None:
    """The key of ``READERS`` that ``format``, a key or a suffix in letters of either case, stands for."""
    name = format.lower()
    return name if name in READERS else by_suffix("." + name.lstrip("."))


def by_suffix(suffix: str) -> str | None:
    """The key of ``READERS`` for files whose names end in ``suffix``."""
    return next((name for name in READERS if suffix in FORMATS[name].suffixes), None)


def written_as(name: str, formats: Collection[str] = tuple(WRITERS)) -> str | None:
    """The one of ``formats``, keys of ``WRITERS``, for files whose names end as ``name`` does; None if there is none.

    Of several endings the longest counts: .copc.laz is no .laz.
    """
    lower = name.rpartition("/")[2].lower()
    found = [each for each in formats if lower.endswith(FORMATS[each].suffix) and lower != FORMATS[each].suffix]
    return max(found, key=lambda each: len(FORMATS[each].suffix), default=None)


def stem(name: str) -> str:
    """The name of a file without the ending that says what it is, such as .copc.laz or .tif."""
    found = written_as(name)
    return name[: -len(FORMATS[found].suffix)] if found else PurePosixPath(name).stem


def table() -> str:
    """Every format as a Markdown table, for the README."""
    lines = ["| name | files | read | written |", "| --- | --- | --- | --- |"]
    for format in FORMATS.values():
        files = " ".join(format.suffixes) if format.reader else format.suffix
        read, written = (part.text if part else "" for part in (format.reader, format.writer))
        lines.append(f"| {format.name} | {files} | {read} | {written} |")
    return "\n".join(lines) + "\n"
