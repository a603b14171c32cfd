"""Guesses the meaning of the columns of a table without names."""

import numpy as np

from app.clouds.columns import NAMES, NORMAL, RGB, SKIP, XYZ, Wanted, numbered
from app.clouds.rows import by_blocks
from app.errors import BadCloud

MIN_COUNTED = 10  # rows that tell a column of counts from coordinates
HEAD_ROWS = 1000  # that are looked at first
LEAST_NORMAL = 1e-30  # numbers that are no more are the bits of a color
EARLIEST_S = 1e8  # seconds of 1973; nothing on Earth has such coordinates in metres


def assumed_names(table: np.ndarray, wanted: Wanted | None = None) -> tuple[tuple[str, ...], list[str]]:
    """Names for the columns of ``table`` (N, C) that states none, and a warning unless C is 3.

    3: x y z. 4: and intensity. 6: and red green blue if the three are whole numbers from 0 to 255 or all within
    0 to 1, nx ny nz if each row of them has length 1 or 0. 7: red green blue and alpha if all four are within
    0 to 1 or alpha is 255 throughout, else intensity before the colors. 9: colors, then normals. Anything else:
    ``numbered`` if there are ``wanted`` pairs, else BadCloud, as for columns that count, tell the time or are packed
    colors.
    """
    count = table.shape[1]
    names: tuple[str, ...] = ()
    odd = None if isinstance(wanted, dict) else _odd_column(table)
    if count == 3 and not odd:
        return XYZ, []
    if count == 4:
        names = (*XYZ, "intensity")
    elif count == 6 and _looks_unit(table[:, 3:]):
        names = XYZ + NORMAL
    elif count == 6 and _looks_color(table[:, 3:]):
        names = XYZ + RGB
    elif count == 7 and _looks_color(table[:, 3:]) and _looks_opaque(table[:, 3:]):
        names = (*XYZ, *RGB, "alpha")
    elif count == 7 and _looks_color(table[:, 4:]):
        names = (*XYZ, "intensity", *RGB)
    elif count == 9 and _looks_color(table[:, 3:6]) and _looks_unit(table[:, 6:]):
        names = XYZ + RGB + NORMAL
    if not names and isinstance(wanted, dict):
        return numbered(count), []
    if not names or odd:
        reason = f", and {odd}" if odd else ""
        raise BadCloud(
            f"{count} columns without names{reason}; say what they are, for example columns=x,y,z,intensity,"
            f"{SKIP} where {SKIP} skips a column. Known names: {', '.join(NAMES)}.",
            columns=numbered(count),
        )
    return names, [f"The columns have no names and were read as {' '.join(names)}; columns= says otherwise."]


@np.errstate(invalid="ignore", over="ignore")
def _odd_column(table: np.ndarray) -> str | None:
    """What speaks against taking the columns (N, C) of a table for coordinates and values; None if nothing does."""
    if len(table) < MIN_COUNTED:
        return None
    counting = []
    for place, values in enumerate(table[:, :3].T, 1):
        if not _counts(values[:HEAD_ROWS]) and not _tells_time(values[:HEAD_ROWS]):
            continue
        if _counts(values):
            counting.append(place)
        elif _tells_time(values):
            return f"column {place} looks like the time"
    if len(counting) == 1:
        return f"column {counting[0]} counts the rows"
    if table.shape[1] == 4 and looks_packed(table[:, 3]):
        return "column 4 looks like colors packed into one number, as in a PCD file whose header is missing"
    return None


def _counts(values: np.ndarray) -> bool:
    """Whether each of ``values`` (N,) is one more than that before it."""
    return bool((np.diff(values.astype(np.float64)) == 1).all())


def _tells_time(values: np.ndarray) -> bool:
    """Whether ``values`` (N,) are seconds that do not go back."""
    return bool(values.min() > EARLIEST_S and (np.diff(values.astype(np.float64)) >= 0).all())


def looks_packed(values: np.ndarray) -> bool:
    """Whether ``values`` (N,) are colors 0xRRGGBB, as whole numbers or as floats of these bits."""
    head = values[:HEAD_ROWS][np.isfinite(values[:HEAD_ROWS])]
    if (np.abs(head) >= LEAST_NORMAL).any() and not _are_bits(head):
        return False
    finite = values[np.isfinite(values)]
    if not len(finite):
        return False
    magnitude = np.abs(finite)
    if ((magnitude > 0) & (magnitude < LEAST_NORMAL)).any():
        return bool((magnitude < LEAST_NORMAL).all())
    return _are_bits(finite) and bool(np.median(finite) > 65535) and len(np.unique(finite.astype(np.int64) & 255)) > 1


def _are_bits(values: np.ndarray) -> bool:
    """Whether ``values`` (N,) are whole numbers of 32 bits."""
    return bool((values == np.floor(values)).all() and (values >= 0).all() and (values < 2**32).all())


def _looks_color(values: np.ndarray) -> bool:
    """Whether the columns (N, 3 or 4) are within 0 to 1, or whole numbers from 0 to 255."""

    def look(block: slice) -> tuple[bool, bool]:
        part = values[block].T.copy()  # numpy is slow where the innermost axis has three values
        lowest, highest = part.min(), part.max()
        is_whole = lowest >= 0 and highest <= 255 and (part == np.floor(part)).all()
        return bool(lowest >= 0 and highest <= 1), bool(is_whole)

    if not any(look(slice(HEAD_ROWS))):
        return False
    found = by_blocks(len(values), look)
    return all(is_share for is_share, _ in found) or all(is_whole for _, is_whole in found)


def _looks_opaque(values: np.ndarray) -> bool:
    """Whether the last of four color columns (N, 4) is alpha: all within 0 to 1, or 255 throughout. If the last three
    are equal throughout, they are a black or a white behind an intensity."""
    alpha = values[:, 3]
    is_grey = bool((values[:, 1:] == values[:1, 3]).all() and alpha[:1] in (0, 255))
    return not is_grey and bool(values.max(initial=0) <= 1 or (alpha == 255).all())


def _looks_unit(values: np.ndarray) -> bool:
    """Whether each row (N, 3) has the length 1 or 0, and not all 0."""

    @np.errstate(over="ignore", invalid="ignore")
    def look(block: slice) -> tuple[bool, bool]:
        length = np.linalg.norm(values[block].T.astype(np.float32, order="C"), axis=0)
        given = length > 1e-6
        return bool(given.any()), bool((np.abs(length[given] - 1) < 0.02).all())

    if not look(slice(HEAD_ROWS))[1]:
        return False
    found = by_blocks(len(values), look)
    return any(is_given for is_given, _ in found) and all(is_unit for _, is_unit in found)
