"""PTX, Leica's exchange of gridded scans: several in a file, each with its pose."""

import io
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from app.clouds import text
from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import RGB, XYZ, Column, Wanted, cloud_from_columns
from app.clouds.encoding import is_text
from app.clouds.memory_file import MemoryFile
from app.clouds.needs import Keep, Needs
from app.clouds.number_table import NUMBER, TableLayout, is_number, parse_rows
from app.errors import BadCloud

NAMES = {3: XYZ, 4: (*XYZ, "intensity"), 6: XYZ + RGB, 7: (*XYZ, "intensity", *RGB)}
HEADER = [1, 1, 3, 3, 3, 3, 4, 4, 4, 4]  # numbers in each line before the points of a scan: size, pose
MIN_LINE_BYTES = 6  # three digits, what parts them, and the end
MAX_LINE_BYTES = 65536


@dataclass(frozen=True)
class PtxScan:
    """One scan: ``num_points`` lines from byte ``start`` on, the first of them ``line_number``; pose float64 (4, 4).

    A point is (x, y, z, 1) @ ``pose``.
    """

    num_points: int
    pose: np.ndarray
    start: int
    line_number: int
    width: int


def read(data: memoryview, columns: Wanted | None = None, max_points: int | None = None) -> Cloud:
    """Every scan, moved by its pose, one after the other; points that were not measured (0 0 0) are NaN.

    ``scan`` is the number of each point's scan. What a scan lacks that others have (colors) is NaN in it. Raises
    BadCloud if a header or a row is none, or rows are missing.
    """
    warnings: list[str] = []
    scans = _find_scans(data, max_points, warnings)
    parts = [_read_scan(data, scan) for scan in scans]
    widest = max(scan.width for scan in scans)
    names = NAMES[widest]
    table = np.full((sum(scan.num_points for scan in scans), widest), np.nan)
    at = 0
    for part in parts:
        places = [names.index(name) for name in NAMES[part.shape[1]]]
        table[at : at + len(part), places] = part
        at += len(part)
    missing = int(np.count_nonzero(np.isnan(table[:, 0])))
    warnings += [f"Points that the scanner did not measure (0 0 0): {missing:,}."] if missing else []
    num_dark = sum("intensity" not in NAMES[scan.width] for scan in scans)
    if "intensity" in names and num_dark:
        warnings.append(f"{num_dark} of {len(scans)} scans have no intensity; it is NaN there.")
    given: list[Column] = list(zip(names, table.T, strict=True))
    numbers = np.arange(len(scans), dtype=np.int32)
    given.append(("scan", np.repeat(numbers, [scan.num_points for scan in scans])))
    is_share = "intensity" in names and np.nanmax(table[:, 3], initial=0) <= 1
    scale = 1.0 if is_share else None
    return cloud_from_columns("ptx", given, wanted=columns, intensity_scale=scale, warnings=warnings)


def _find_scans(data: memoryview, max_points: int | None, warnings: list[str]) -> list[PtxScan]:
    """Every scan that has points, in the file's order; ``warnings`` get what was wrong with poses."""
    lines = io.BufferedReader(MemoryFile(data), 1 << 20)
    scans: list[PtxScan] = []
    line_number, number = 1, 0
    while (header := _read_header(lines, line_number)) is not None:
        num_points, pose, line_number = header
        number += 1
        if not num_points:
            continue
        check_num_points(sum(scan.num_points for scan in scans) + num_points, max_points, "The PTX")
        if not _is_pose(pose):
            warnings.append(f"The pose of scan {number} of the PTX is none: its points were not moved.")
            pose = np.eye(4)
        start = lines.tell()
        if num_points * MIN_LINE_BYTES > len(data) - start + 1:
            raise BadCloud(
                f"Scan {number} of the PTX states {num_points:,} points; the {len(data) - start:,} bytes that "
                "follow cannot hold them: the file is cut short."
            )
        width, num_lines = _skip(lines, num_points, number)
        if width not in NAMES:
            raise BadCloud(f"Line {line_number} of the PTX has {width} numbers; expected 3, 4, 6 or 7.")
        scans.append(PtxScan(num_points, pose, start, line_number, width))
        line_number += num_lines
    if not scans:
        raise BadCloud("The PTX holds no points.")
    return scans


def _read_header(lines: "io.BufferedReader[MemoryFile]", line_number: int) -> tuple[int, np.ndarray, int] | None:
    """Points of the next scan, its pose, and the number of the line after the header; None at the end of the file."""
    rows: list[list[float]] = []
    while len(rows) < len(HEADER):
        line = lines.readline(MAX_LINE_BYTES)
        if not line and not rows:
            return None
        words = line.decode("latin-1").split()
        if words or not line:
            expected = HEADER[len(rows)]
            if len(words) != expected or not all(map(is_number, words)):
                raise BadCloud(
                    f"Line {line_number} of the PTX: expected {expected} numbers of a scan's header, found "
                    f"'{' '.join(words):.40}'."
                )
            rows.append([float(word) for word in words])
        line_number += 1
    size = rows[0][0], rows[1][0]
    pose = np.array(rows[6:])
    if not all(number >= 0 and number.is_integer() for number in size):
        raise BadCloud("The header of a scan in the PTX states a size that is none.")
    if pose[:3, 3].any() and not pose[3, :3].any():  # written for columns, not for rows
        pose = pose.T
    return int(size[0]) * int(size[1]), pose, line_number


def _is_pose(pose: np.ndarray) -> bool:
    """Whether ``pose`` (4, 4) is of numbers and leaves three dimensions what they are."""
    return bool(np.isfinite(pose).all()) and int(np.linalg.matrix_rank(pose[:3, :3])) == 3


def _skip(lines: "io.BufferedReader[MemoryFile]", num_points: int, number: int) -> tuple[int, int]:
    """Numbers in the first of so many rows, and how many lines these take, blank ones among them."""
    width, num_rows, num_lines = 0, 0, 0
    while num_rows < num_points:
        chunk = list(islice(lines, num_points - num_rows))
        if not chunk:
            raise BadCloud(
                f"Scan {number} of the PTX states {num_points:,} points, but {num_rows:,} rows follow: the file is cut "
                "short."
            )
        width = width or len(chunk[0].split())
        num_rows += sum(not line.isspace() for line in chunk)
        num_lines += len(chunk)
    return width, num_lines


def _read_scan(data: memoryview, scan: PtxScan) -> np.ndarray:
    layout = TableLayout(None, scan.width, range(scan.width), scan.line_number)
    table = parse_rows(data, scan.start, layout, scan.num_points)
    xyz = table[:, :3]
    missing = ~xyz.any(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        table[:, :3] = xyz @ scan.pose[:3, :3] + scan.pose[3, :3]
    table[missing, :3] = np.nan
    return table


def looks_like_ptx(head: bytes) -> bool:
    """Whether the first lines are those of a scan: two counts, four vectors, a matrix of 4 by 4."""
    lines = [line.split() for line in head.lstrip()[:4096].splitlines()[: len(HEADER)]]
    if [len(line) for line in lines] != HEADER or not is_text(head):
        return False
    numbers = [field for line in lines for field in line]
    return numbers[0].isdigit() and numbers[1].isdigit() and all(NUMBER.fullmatch(field) for field in numbers)


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """Those of a table of text, and once more for all scans together."""
    needs = text.reading_needs(data, wanted, keep)
    return replace(needs, work_bytes=needs.work_bytes + needs.num_points * 8 * len(NAMES[7]))
