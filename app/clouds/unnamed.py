"""Guesses the meaning of the columns of a table without names."""

import numpy as np

from app.clouds.columns import NAMES, NORMAL, RGB, SKIP, XYZ, Wanted, numbered
from app.errors import BadCloud

MIN_COUNTED = 10  # rows that tell a column of counts from coordinates
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
        steps = np.diff(values.astype(np.float64))
        if (steps == 1).all():
            counting.append(place)
        elif values.min() > EARLIEST_S and (steps >= 0).all():
            return f"column {place} looks like the time"
    if len(counting) == 1:
        return f"column {counting[0]} counts the rows"
    if table.shape[1] == 4 and looks_packed(table[:, 3]):
        return "column 4 looks like colors packed into one number, as in a PCD file whose header is missing"
    return None


def looks_packed(values: np.ndarray) -> bool:
    """Whether ``values`` (N,) are colors 0xRRGGBB, as whole numbers or as floats of these bits."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return False
    magnitude = np.abs(finite)
    if ((magnitude > 0) & (magnitude < 1e-30)).any():
        return bool((magnitude < 1e-30).all())
    whole = bool((finite == np.floor(finite)).all() and (finite >= 0).all() and (finite < 2**32).all())
    return whole and bool(np.median(finite) > 65535) and len(np.unique(finite.astype(np.int64) & 255)) > 1


def _looks_color(values: np.ndarray) -> bool:
    lowest, highest = values.min(initial=0), values.max(initial=0)
    return bool(lowest >= 0 and (highest <= 1 or (highest <= 255 and np.all(values == np.floor(values)))))


def _looks_opaque(values: np.ndarray) -> bool:
    """Whether the last of four color columns (N, 4) is alpha: all within 0 to 1, or 255 throughout. If the last three
    are equal throughout, they are a black or a white behind an intensity."""
    alpha = values[:, 3]
    is_grey = bool((values[:, 1:] == values[:1, 3]).all() and alpha[:1] in (0, 255))
    return not is_grey and bool(values.max(initial=0) <= 1 or (alpha == 255).all())


def _looks_unit(values: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        length = np.linalg.norm(values.astype(np.float32), axis=1)
    given = length > 1e-6
    return bool(given.any() and np.all(np.abs(length[given] - 1) < 0.02))
