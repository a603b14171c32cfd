"""E57 (ASTM E2807): every scan of the file, in the file's common coordinate system. Needs the extra ``e57``."""

import logging
import re
import struct
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np

from app.clouds.checks import check_names, check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import Wanted, bound
from app.clouds.crs import BadCrs, units_of
from app.clouds.e57_scan import FULL_SCALES, E57Scan, Table
from app.clouds.needs import XYZ_BYTES, Keep, Needs
from app.clouds.records import free_name
from app.clouds.units import SAME, Units, length
from app.errors import BadCloud, Problem, UnsupportedFormat, storage_problem

if TYPE_CHECKING:
    import pye57

PAGE_BYTES, PAYLOAD_BYTES = 1024, 1020
POINT_BYTES = 256  # all fields as float64, coordinates before and after the pose, scans and their union
RECORD_COUNT = re.compile(rb"recordCount\s*=\s*[\"'](\d{1,18})[\"']")
LENGTH_AT = 16  # of the file, uint64, in its header

log = logging.getLogger(__name__)


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """All scans of an E57 file one after the other, each moved by its pose; ``extra["scan"]`` is each point's scan.

    Points that the file marks as invalid are kept with NaN coordinates, black, or with a NaN intensity. Normals are
    those of the extension for them. ``extra`` has every other field of numbers by its own name, and ``return_number``
    and ``number_of_returns``, from 1. ``columns`` may pair channels with ``x``, ``red``, ``intensity``, ``nx``,
    ``scan`` and these.

    Raises:
        UnsupportedFormat: pye57 is not installed.
        BadCloud: the file is damaged, or has no scans with coordinates.
        TooLarge: more than ``max_points`` points, found before they are read.
        NoRoom: the library reads files only, and the disk has no room for a copy.
    """
    try:
        import pye57
    except ImportError:
        raise UnsupportedFormat(
            f"Reading E57 needs pye57, which is not installed: run `{sys.executable} -m pip install pye57`."
        ) from None
    warnings: list[str] = []
    with _spooled(_whole(data, warnings)) as spool:
        try:
            with pye57.E57(f"/dev/fd/{spool.fileno()}") as file:  # the library opens paths only
                cloud = bound(_read_scans(file, len(data), max_points, warnings), columns)
                cloud.units = _units(file)
                return cloud
        except (KeyboardInterrupt, SystemExit, MemoryError, Problem):
            raise
        except BaseException as error:
            log.info("pye57 could not read a file: %s", str(error).strip().partition("\n")[0])
            raise BadCloud(_advice(str(error))) from None


def _whole(data: memoryview, warnings: list[str]) -> memoryview:
    """The bytes that the file says it has; BadCloud if there are fewer."""
    if len(data) < LENGTH_AT + 8:
        raise BadCloud(f"The E57 file is cut off in its header: it has {len(data)} bytes. Send the whole file.")
    length = struct.unpack_from("<Q", data, LENGTH_AT)[0]
    if length > len(data):
        raise BadCloud(
            f"The E57 file is cut off or damaged: it says that it has {length:,} bytes, {len(data):,} are all there "
            "is. Send the whole file."
        )
    if length < len(data):
        warnings.append(f"{len(data) - length:,} bytes follow the end that the E57 file states: left out.")
    return data[:length]


def _advice(reason: str) -> str:
    """What to do about a file that the library gave up with ``reason``."""
    if "ErrorBadChecksum" in reason:
        return "The E57 file is damaged: checksums do not agree with its bytes. Send the file again."
    if "ErrorXMLParser" in reason or "ErrorBadXMLFormat" in reason:
        return "The E57 file is damaged: the XML that describes its scans cannot be read. Export it again."
    if "ErrorUnknownFileVersion" in reason:
        return "The E57 file is of another version than 1.0. Export it again, or as LAS or PLY."
    return "The E57 file is damaged: its parts do not fit together. Export it again, or as LAS or PLY."


def _spooled(data: memoryview) -> IO[bytes]:
    """A file with ``data``, without a name, so that none is left if this process is killed.

    Raises NoRoom if the disk has no room for it.
    """
    try:
        with ExitStack() as stack:
            spool = stack.enter_context(tempfile.TemporaryFile())
            spool.write(data)
            spool.flush()
            stack.pop_all()
            return spool
    except OSError as error:
        raise storage_problem(error, "the E57 file") from error


def _read_scans(file: "pye57.E57", num_bytes: int, max_points: int | None, warnings: list[str]) -> Cloud:
    every = [E57Scan(file, index) for index in range(file.scan_count)]
    check_num_points(sum(scan.num_points for scan in every), max_points, "The E57 file")
    for scan in every:
        scan.check_size(num_bytes)
    scans = [scan for scan in every if scan.num_points and scan.system]
    for scan in every:
        if scan.num_points and scan.system is None:
            warnings.append(
                f"Scan {scan.index} of the E57 file has no coordinates, only {', '.join(scan.fields):.200}: its "
                f"{scan.num_points:,} points were left out."
            )
    if not scans:
        fields = ", ".join(field for scan in every for field in scan.fields) or "none"
        raise BadCloud(f"No scan of the E57 file has coordinates; the fields are {fields:.200}.")
    others = sorted({name for scan in scans for name in scan.others})
    if others:
        warnings.append(f"Fields that are not numbers were left out: {len(others):,} ({', '.join(others):.200}).")
    tables = [scan.read() for scan in scans]
    warnings += [warning for table in tables for warning in table.warnings]
    cloud = Cloud(np.concatenate([table.xyz for table in tables]), "e57", warnings=warnings)
    counts = [len(table.xyz) for table in tables]
    cloud.extra["scan"] = np.repeat(np.array([scan.index for scan in scans], np.int32), counts)
    _warn_of_invalid(tables, warnings)
    cloud.rgb = _joined("colors", [table.rgb for table in tables], counts, warnings)
    cloud.normals = _joined("normals", [table.normals for table in tables], counts, warnings)
    cloud.intensity = _joined("intensity", [table.intensity for table in tables], counts, warnings)
    if cloud.intensity is not None:
        limit = max(scan.limit("intensityLimits", ("intensityMaximum",), "intensity") for scan in scans)
        cloud.intensity_scale = next((float(scale) for scale in FULL_SCALES if limit <= scale), None)
    names = dict.fromkeys(name for table in tables for name in table.extra)
    check_names(names)
    for name in names:
        values = _joined(name, [table.extra.pop(name, None) for table in tables], counts, warnings)
        if values is not None:
            cloud.extra[free_name(name, set(cloud.extra))] = values
    return cloud


def _units(file: "pye57.E57") -> Units:
    """Metres, as the standard says, with a doubt if the file states a coordinate system in another unit."""
    metre = length(1.0, source="format")
    root = file.root
    text = str(root["coordinateMetadata"].value()) if root.isDefined("coordinateMetadata") else ""
    if not text.strip():
        return Units(metre, metre, metre)
    try:
        stated = units_of(text)
    except BadCrs as error:
        return Units(metre, metre, metre, doubts=(f"The coordinate system of the E57 file cannot be read: {error}.",))
    doubts = stated.doubts
    if any(unit.radians or abs(unit.metres - 1) > SAME for unit in stated.axes):
        doubts += (
            f"The coordinate system of the E57 file is in {stated.described()}, but E57 has metres by its standard: "
            "they were taken for metres. units= says otherwise.",
        )
    return replace(stated, x=metre, y=metre, z=metre, doubts=doubts)


def _warn_of_invalid(tables: list[Table], warnings: list[str]) -> None:
    xyz, rgb, intensity = (sum(table.num_invalid[what] for table in tables) for what in range(3))
    if xyz:
        warnings.append(f"Points marked invalid in the file: {xyz:,}; their coordinates became NaN.")
    if rgb:
        warnings.append(f"Colors marked invalid in the file: {rgb:,}; they became black.")
    if intensity:
        warnings.append(f"Intensities marked invalid in the file: {intensity:,}; they became NaN.")


def _joined(name: str, parts: list[np.ndarray | None], counts: list[int], warnings: list[str]) -> np.ndarray | None:
    """One array of a channel over all scans, NaN or zero in the scans that lack it; None if all do."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    dtype = np.result_type(*present).newbyteorder("=")
    missing = np.nan if dtype.kind == "f" and name != "intensity" else 0
    if len(present) < len(parts):
        warnings.append(f"{len(parts) - len(present)} of {len(parts)} scans have no {name}; it is {missing} there.")
    joined = np.full((sum(counts), *present[0].shape[1:]), missing, dtype)
    ends = np.cumsum(counts)
    for part, end, count in zip(parts, ends, counts, strict=True):
        if part is not None:
            joined[end - count : end] = part
    return joined


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """The needs of a file, from the numbers of records in its XML, whose pages end in checksums."""
    start, length = struct.unpack_from("<QQ", data, 24)
    num_pages = length // PAYLOAD_BYTES + 2
    first = start // PAGE_BYTES * PAGE_BYTES
    pages = (
        bytes(data[at : at + PAYLOAD_BYTES])
        for at in range(first, min(first + num_pages * PAGE_BYTES, len(data)), PAGE_BYTES)
    )
    num_points = sum(int(found[1]) for found in RECORD_COUNT.finditer(b"".join(pages)))
    return Needs(num_points, num_points * POINT_BYTES + len(data) // 4, num_points * (XYZ_BYTES + 11))
