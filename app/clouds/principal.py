"""Colors of features: their first three principal components."""

import numpy as np

SAMPLED_VALUES = 1 << 22  # from which the components are computed: 32 MiB of float64
BASIS = 32  # vectors that are iterated to find three
ITERATIONS = 24
LOW_PERCENT, HIGH_PERCENT = 2, 98


def principal_colors(values: np.ndarray) -> np.ndarray:
    """The first three principal components of ``values`` (N, C) as colors uint8 (N, 3), 2nd to 98th percentile.

    A component points to where the value with the largest part in it grows. Of many values, rows at even distances
    are looked at to find components and percentiles.
    """
    colors = np.zeros((len(values), 3), np.uint8)
    if not values.size:
        return colors
    step = max(1, values.size // SAMPLED_VALUES)
    sample = values[::step].astype(np.float64)
    mean = sample.mean(axis=0)
    sample -= mean
    axes = principal_axes(sample.T @ sample)
    low, high = np.percentile(sample @ axes, (LOW_PERCENT, HIGH_PERCENT), axis=0)
    span = np.where(high > low, high - low, 1)
    shares = ((values - mean.astype(np.float32)) @ axes.astype(np.float32) - low) / span
    colors[:, : axes.shape[1]] = np.rint(255 * np.clip(shares, 0, 1))
    return colors


def principal_axes(scatter: np.ndarray) -> np.ndarray:
    """Directions float64 (C, 3) of the three components of centred values with the ``scatter`` matrix (C, C)."""
    axes = _largest_eigenvectors(scatter)
    return axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0))


def _largest_eigenvectors(matrix: np.ndarray) -> np.ndarray:
    """Eigenvectors of the three largest eigenvalues of a symmetric (C, C), as columns; all if C is less than 3.

    By orthogonal iteration of a basis, always the same, which is exact up to C = ``BASIS`` and, for the thousand
    channels of an encoder, a hundred times quicker than finding all.
    """
    basis = np.random.default_rng(0).standard_normal((len(matrix), min(len(matrix), BASIS)))
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(matrix @ basis)
    _, turn = np.linalg.eigh(basis.T @ matrix @ basis)
    return basis @ turn[:, :-4:-1]
