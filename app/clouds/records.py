"""Point records as they lie in a file: a uint8 matrix (N, bytes of a point); its columns are typed views."""

from collections.abc import Iterable
from itertools import chain, count

import numpy as np

MAX_ROUNDING = 1e-4  # of coordinates, in their unit


def column(records: np.ndarray, offset: int, dtype: np.dtype | str) -> np.ndarray:
    """The view (N,) of the value of type ``dtype`` that starts ``offset`` bytes into every record."""
    kind = np.dtype(dtype)
    return records[:, offset : offset + kind.itemsize].view(kind)[:, 0]


def widen(records: np.ndarray, num_bytes: int) -> np.ndarray:
    """A copy of ``records`` with ``num_bytes`` zero bytes after every record."""
    num_points, length = records.shape
    wide = np.empty((num_points, length + num_bytes), np.uint8)
    wide[:, :length] = records
    wide[:, length:] = 0
    return wide


def common_dtype(dtype: np.dtype) -> np.dtype:
    """``dtype`` in little endian, of floating types the next one that formats beside numpy's own have."""
    size = min(max(dtype.itemsize, 4), 8) if dtype.kind == "f" else dtype.itemsize
    return np.dtype(f"<{dtype.kind}{size}")


def fits(values: np.ndarray, dtype: np.dtype) -> bool:
    """Whether ``dtype`` holds every one of ``values``: integers by range, fractions only in floating types."""
    if dtype.kind == "f" or len(values) == 0:
        return True
    if dtype.kind == "V" or not np.all(np.isfinite(values)) or np.any(values != np.rint(values)):
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= values.min() and values.max() <= limits.max)


def float32_error(xyz: np.ndarray) -> float:
    """How far float32 moves one of the finite coordinates ``xyz`` at most, in their unit."""
    finite = xyz[np.isfinite(xyz)]
    with np.errstate(over="ignore"):
        return float(np.abs(finite.astype(np.float32) - finite).max(initial=0))


def free_name(wanted: str, taken: set[str], *, other: str = "", max_bytes: int | None = None) -> str:
    """``wanted`` as a name that is none of ``taken``: else ``other``, else the first of wanted_2, wanted_3 … that is
    free. A name of more than ``max_bytes`` in UTF-8 is cut in front of its number.
    """
    names = chain([(wanted, ""), (other or wanted, "")], ((wanted, f"_{number}") for number in count(2)))
    return next(name for name in (cut(stem, max_bytes, suffix) for stem, suffix in names) if name not in taken)


def cut(text: str, max_bytes: int | None, suffix: str = "") -> str:
    """``text`` and ``suffix``; ``text`` is cut so that both go into ``max_bytes`` of UTF-8."""
    if max_bytes is not None:
        text = text.encode()[: max_bytes - len(suffix)].decode("utf-8", "ignore")
    return text + suffix


def one_word(name: str, taken: set[str]) -> str:
    """``name`` as one ASCII word without #, as headers need it, different from all that are ``taken``."""
    plain = "".join(char if "!" <= char <= "~" and char != "#" else "_" for char in "_".join(name.split()))
    return free_name(plain or "column", taken)


def renamed(output: str, names: Iterable[tuple[str, str]]) -> list[str]:
    """A warning of columns with another name in the format ``output``, if any; each pair is the old name and the
    new."""
    pairs = [(old, new) for old, new in names if old != new]
    examples = ", ".join(f"'{old:.40}' is '{new}'" for old, new in pairs[:5])
    return [f"Columns with another name in {output}: {len(pairs):,} ({examples})."] if pairs else []
