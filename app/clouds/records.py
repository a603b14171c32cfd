"""Point records as they lie in a file: a uint8 matrix (N, bytes of a point), of which columns are typed views."""

import numpy as np

MAX_ROUNDING = 1e-4


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


def fits(values: np.ndarray, dtype: np.dtype) -> bool:
    """Whether ``dtype`` holds every one of ``values``: integers by range, fractions only in floating types."""
    if dtype.kind == "f" or len(values) == 0:
        return True
    if not np.all(np.isfinite(values)) or np.any(values != np.rint(values)):
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= values.min() and values.max() <= limits.max)


def suffices_float32(xyz: np.ndarray) -> bool:
    """Whether float32 moves none of the finite coordinates ``xyz`` further than 0.0001 of their unit."""
    finite = xyz[np.isfinite(xyz)]
    with np.errstate(over="ignore"):
        return bool((np.abs(finite.astype(np.float32) - finite) <= MAX_ROUNDING).all())


def free_name(wanted: str, taken: set[str]) -> str:
    """``wanted``, or the first of ``wanted_2``, ``wanted_3`` … that is not taken."""
    names = [wanted, *(f"{wanted}_{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
