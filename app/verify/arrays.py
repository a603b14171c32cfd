"""Arrays of a case: read, and compared with their answers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

FLOAT_TOLERANCE = 1e-5


def read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file, by name; a file with pickled objects is refused."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def distance(values: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; inf if the shapes differ or something is not finite."""
    if values.shape != expected.shape:
        return float("inf")
    largest = float(np.abs(values.astype(np.float64) - expected).max(initial=0))
    return largest if np.isfinite(largest) else float("inf")


def different(outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the integer outputs that are not equal, and of the float ones beyond the tolerance."""
    return [
        name
        for name, value in outputs.items()
        if value.shape != expected[name].shape
        or not (
            np.allclose(value, expected[name], rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE)
            if value.dtype.kind == "f"
            else np.array_equal(value, expected[name])
        )
    ]
