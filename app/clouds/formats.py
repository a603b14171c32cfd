"""Every format that is read or written, and the two functions that do it: ``read`` and ``write``.

A format's module is imported when it is first used, so that an optional library that is missing hurts that format only.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module

from app.clouds import overwritten
from app.clouds.bindings import parse_wanted
from app.clouds.checks import bounded, check_cloud, check_num_points
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.columns import NAMES, Wanted
from app.clouds.encoding import utf8
from app.clouds.foreign import refuse_name
from app.clouds.georeference import settle
from app.clouds.sniff import is_text, sniff
from app.errors import BadCloud, BadRequest, Problem, UnsupportedFormat


@dataclass(frozen=True)
class Reader:
    """A format that is read: ``function`` of ``app.clouds.<module>``; files with ``extensions`` usually hold it.

    ``takes_columns`` where a request may name the columns because the file does not; to say which of them feeds what
    is possible with every format. ``takes_keep`` where columns that nobody wants need not be decoded.
    """

    title: str
    module: str
    extensions: tuple[str, ...]
    function: str = "read"
    takes_columns: bool = False
    takes_keep: bool = False


@dataclass(frozen=True)
class Writer:
    """A format that is written; the file that came in is kept in it where its reader is of the same ``module``.

    ``keeps_columns`` where it has a place for columns without a meaning.
    """

    title: str
    module: str
    extension: str
    media_type: str
    function: str = "write"
    keeps_columns: bool = False


READERS = {
    "las": Reader("LAS 1.0–1.4, every point format", "las", (".las",)),
    "laz": Reader("LAZ, and COPC as LAZ", "las", (".laz",)),
    "ply": Reader("PLY, ascii or binary", "ply", (".ply",)),
    "pcd": Reader("PCD, ascii, binary or compressed", "pcd", (".pcd",)),
    "e57": Reader("E57 (needs pye57)", "e57", (".e57",)),
    "npy": Reader("NPY, (N, C) or structured", "npy", (".npy",), takes_columns=True),
    "npz": Reader("NPZ, or a Pointcept sample in a zip", "npz", (".npz", ".zip"), takes_columns=True, takes_keep=True),
    "pth": Reader(
        "Pointcept scene, a dict of arrays by torch.save or pickle",
        "pth",
        (".pth", ".pt", ".pkl"),
        takes_columns=True,
        takes_keep=True,
    ),
    "ptx": Reader("PTX, every scan by its pose", "ptx", (".ptx",)),
    "text": Reader(
        "Text table", "text", (".xyz", ".txt", ".asc", ".csv", ".tsv", ".pts", ".xyzrgb", ".xyzn"), takes_columns=True
    ),
    "json": Reader('JSON {"points": …, "fields": …}', "points_json", (".json",), takes_columns=True),
    "bin": Reader("Float32 sweep, by columns=", "sweep", (".bin",), takes_columns=True),
    "kitti": Reader("Float32 sweep, x y z intensity", "sweep", (), "read_kitti"),
    "nuscenes": Reader("Float32 sweep, x y z intensity ring", "sweep", (".pcd.bin",), "read_nuscenes"),
    "xyzrgb": Reader("Float32 dump, x y z red green blue", "sweep", (), "read_xyzrgb"),
}

WRITERS = {
    "json": Writer("JSON with labels and classes", "answer", ".json", "application/json"),
    "las": Writer("LAS, classified", "las", ".las", "application/vnd.las", "write_las", keeps_columns=True),
    "laz": Writer("LAZ, classified", "las", ".laz", "application/vnd.laszip", "write_laz", keeps_columns=True),
    "ply": Writer("PLY with labels", "ply", ".ply", "application/x-ply", keeps_columns=True),
    "pcd": Writer("PCD with labels", "pcd", ".pcd", "application/x-pcd", keeps_columns=True),
    "npz": Writer("NPZ with labels, coordinates, classes", "npz", ".npz", "application/x-npz"),
    "npy": Writer("NPY, the labels", "npy", ".npy", "application/x-npy"),
    "safetensors": Writer(
        "Labels and what was asked for, as arrays", "tensors", ".safetensors", "application/vnd.safetensors"
    ),
    "csv": Writer("CSV with coordinates and labels", "points_csv", ".csv", "text/csv"),
    "view": Writer("What the page shows", "view", ".view", "application/vnd.pointserve.view"),
}

UNMARKED = {"text": ("text", "ptx"), "json": ("points_json",)}
"""Formats without a mark, which a file with the name of another is not taken for, and the modules that read them."""
UNMARKED_WORDS = {"text": "rows of numbers without the header of that format", "json": "JSON"}

NAMELESS_JSON = ".json"  # in place of the name of a file: JSON by the word of the request's Content-Type

log = logging.getLogger(__name__)

MEMORY = "The file needs more memory than a reader may use. Cut it into tiles or thin it out."


def read(
    data: memoryview,
    *,
    filename: str = "",
    format: str | None = None,
    columns: tuple[str, ...] | None = None,
    max_points: int | None = None,
    crs: str = "",
    units: str = "",
    keep: Collection[str] | None = None,
) -> Cloud:
    """The cloud in ``data``, N points in the file's order.

    The content tells the format; ``format`` (a key of ``READERS`` or an extension), then ``filename``, then ``columns``
    (a raw sweep) tell it where the content does not. ``crs`` and ``units`` are those of the coordinates, whatever the
    file says: a coordinate system as pyproj takes it, and units as ``app.clouds.units.parse_units`` does. ``keep`` are
    the columns wanted beside those with a meaning (``columns.NAMES``); None for all of them.

    Raises:
        UnsupportedFormat: not a format of ``READERS``, or the content is another format than ``format`` says.
        BadCloud: damaged, cut short, empty, or out of memory; whatever a decoder raised ends so.
        BadRequest: ``columns``, ``crs`` or ``units`` that make no sense.
        TooLarge: more than ``max_points``.
    """
    wanted = parse_wanted(columns) if columns else None
    data = utf8(data)
    name = find_format(data, filename, format, wanted)
    reader = READERS[name]
    if isinstance(wanted, tuple) and not reader.takes_columns:
        raise BadRequest(
            f"columns= does not apply to {name}: the format names its own columns. Leave it out, or say which of them "
            "feeds what: columns=intensity:amplitude."
        )
    try:
        decode = _function(reader)
        cloud = decode(data, wanted, max_points, keep) if reader.takes_keep else decode(data, wanted, max_points)
        settle(cloud, crs, units)
    except (Problem, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except ImportError as error:
        raise UnsupportedFormat(f"{reader.title}: not installed on this server ({error}).") from None
    except MemoryError:
        raise BadCloud(MEMORY) from None
    except BaseException as error:  # lazrs and pye57 raise what is no Exception
        log.warning("reading %s failed: %s: %.300s", name, type(error).__name__, " ".join(str(error).split()))
        raise BadCloud(
            f"The file cannot be read as {name}: it is damaged, or written in a way that is not known here. Open it in "
            "the program that it comes from and export it anew."
        ) from error
    check_num_points(len(cloud), max_points)
    cloud.warnings = bounded(cloud.warnings)
    if keep is not None:
        cloud.extra = {name: values for name, values in cloud.extra.items() if name in NAMES or name in keep}
    return check_cloud(cloud)


def write(output: str, cloud: Cloud, segmentation: Segmentation, source: memoryview | None = None) -> bytes:
    """``segmentation`` of ``cloud`` in the format ``output``, a key of ``WRITERS``.

    ``source`` is the file that the cloud was read from; it is kept where ``keeps_source`` says so, else not looked at.
    """
    if output not in WRITERS:
        raise UnsupportedFormat(f"Unknown output '{output:.40}'; known are {', '.join(WRITERS)}.")
    encode: Callable[..., bytes] = _function(WRITERS[output])
    segmentation.meta.warnings[:] = bounded(segmentation.meta.warnings)
    keeps = keeps_source(output, cloud.format) and source is not None
    segmentation.meta.warnings += overwritten.of_cloud(output, cloud, segmentation, keeps_source=keeps)
    data = encode(cloud, segmentation, utf8(source) if keeps and source is not None else None)
    segmentation.meta.warnings[:] = bounded(segmentation.meta.warnings)
    return data


def keeps_source(output: str, format: str) -> bool:
    """Whether ``output`` can keep all that a file of ``format`` holds: both are of one family, such as las and laz."""
    return format in READERS and READERS[format].module == WRITERS[output].module in ("las", "ply", "pcd")


def load_all() -> None:
    """Import the module of every format whose libraries are installed."""
    entries: list[Reader | Writer] = [*READERS.values(), *WRITERS.values()]
    for entry in entries:
        try:
            _function(entry)
        except UnsupportedFormat:
            continue


def table() -> str:
    """Every format as a Markdown table, for the README."""
    lines = ["| name | files | read | written |", "| --- | --- | --- | --- |"]
    for name in dict.fromkeys([*READERS, *WRITERS]):
        reader, writer = READERS.get(name), WRITERS.get(name)
        files = " ".join(reader.extensions) if reader else writer.extension if writer else ""
        lines.append(f"| {name} | {files} | {reader.title if reader else ''} | {writer.title if writer else ''} |")
    return "\n".join(lines) + "\n"


def find_format(data: memoryview, filename: str = "", format: str | None = None, columns: Wanted | None = None) -> str:
    """The key of ``READERS`` for ``data``; see ``read``."""
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
        return wanted if wanted not in ("las", "laz") else shown or wanted
    told = _by_filename(filename)
    if shown in UNMARKED and filename == NAMELESS_JSON and shown != "json":
        raise UnsupportedFormat(
            "The Content-Type says application/json, but the body holds rows of numbers. Send a file as "
            f"application/octet-stream, or say format={shown}."
        )
    if shown in UNMARKED and told and READERS[told].module not in UNMARKED[shown]:
        raise UnsupportedFormat(
            f"The file is called '{filename:.100}', but holds {UNMARKED_WORDS[shown]}. If that is meant, say "
            f"format={shown}; else send the whole file, as programs write {told}."
        )
    if not shown and not told:
        refuse_name(filename)
    name = shown or told or ("bin" if isinstance(columns, tuple) else None)
    if name is None:
        if is_text(data):
            raise UnsupportedFormat(
                "This is text, but no line near its start begins with three numbers, as a table of points does; "
                f"formats that are read: {', '.join(READERS)}."
            )
        shows = f"Neither the content nor the name '{filename:.100}' shows" if filename else "The content does not show"
        raise UnsupportedFormat(
            f"{shows} a format that is read: {', '.join(READERS)}. "
            "A raw float32 sweep needs format=kitti, format=nuscenes, format=xyzrgb or columns=x,y,z,…."
        )
    if name == "nuscenes" and isinstance(columns, tuple):
        return "bin"
    return name


def reader_named(format: str) -> str | None:
    """The key of ``READERS`` that ``format``, a key or an extension in letters of either case, stands for."""
    name = format.lower()
    return name if name in READERS else _by_extension("." + name.lstrip("."))


def _by_filename(filename: str) -> str | None:
    parts = filename.lower().rsplit("/", 1)[-1].split(".")[1:]
    return next(filter(None, (_by_extension("." + ".".join(parts[i:])) for i in range(len(parts)))), None)


def _by_extension(extension: str) -> str | None:
    return next((name for name, reader in READERS.items() if extension in reader.extensions), None)


def _function(entry: Reader | Writer) -> Callable:
    try:
        module = import_module(f"app.clouds.{entry.module}")
    except ImportError as error:
        raise UnsupportedFormat(f"{entry.title}: not installed on this server ({error}).") from None
    function: Callable = getattr(module, entry.function)
    return function
