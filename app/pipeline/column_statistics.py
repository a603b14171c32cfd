"""Statistics of the few columns of tall arrays: numpy's own along the first axis take ten times as long."""

import numpy as np


def lowest(values: np.ndarray) -> np.ndarray:
    """(C,), as ``values.min(0)`` of (N, C), N > 0."""
    return np.array([column.min() for column in values.T], values.dtype)


def highest(values: np.ndarray) -> np.ndarray:
    """(C,), as ``values.max(0)`` of (N, C), N > 0."""
    return np.array([column.max() for column in values.T], values.dtype)


def extent(values: np.ndarray) -> np.ndarray:
    """(C,), as ``np.ptp(values, axis=0)`` of (N, C), N > 0."""
    return highest(values) - lowest(values)


def within(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """bool (N,), the rows of (N, C) from ``low`` (C,) to below ``high`` (C,) in every column."""
    columns = zip(values.T, low, high, strict=True)
    return np.logical_and.reduce([(column >= first) & (column < end) for column, first, end in columns])
