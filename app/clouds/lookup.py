"""Values looked up in a small table, for every point."""

from collections.abc import Mapping

import numpy as np

MAX_TABLE = 1 << 16


def looked_up(values: np.ndarray, found: Mapping[int, int], otherwise: int, dtype: type = np.int64) -> np.ndarray:
    """What ``found`` has for each of ``values`` (N,), numbers of any kind, else ``otherwise``; of ``dtype`` (N,)."""
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < MAX_TABLE:
            table: np.ndarray = np.array([found.get(value, otherwise) for value in range(low, high + 1)], dtype)
            return table[np.subtract(values, low, dtype=np.int64)]
    unique, inverse = np.unique(values, return_inverse=True)
    of_unique: np.ndarray = np.array([found.get(value, otherwise) for value in unique.tolist()], dtype)
    return of_unique[inverse.reshape(-1)]
