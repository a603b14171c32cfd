"""Principal components as colors."""

import numpy as np
import pytest

from app.clouds import principal
from app.clouds.principal import principal_colors


def make_groups() -> np.ndarray:
    """Five groups of a hundred rows each, told apart by a component each."""
    rng = np.random.default_rng(0)
    return np.repeat(np.eye(5, dtype=np.float32), 100, axis=0) + rng.normal(0, 0.01, (500, 5)).astype(np.float32)


def test_groups_are_told_apart():
    colors = principal_colors(make_groups()).reshape(5, 100, 3).astype(int)
    assert all(np.ptp(colors[group], axis=0).max() < 40 for group in range(5))
    means = colors.mean(axis=1)
    assert min(np.abs(means[a] - means[b]).max() for a in range(5) for b in range(a)) > 40


def test_signs_do_not_depend_on_the_solver():
    values = np.linspace(0, 1, 200)[:, None] * np.float32([-0.5, 3, 1]) + np.float32([5, 5, 5])
    red = principal_colors(values.astype(np.float32))[:, 0].astype(int)
    assert (np.diff(red) >= 0).all()
    assert (red[0], red[-1]) == (0, 255)
    falling = principal_colors((values * np.float32([1, -1, 1])).astype(np.float32))[:, 0]
    assert (falling[0], falling[-1]) == (255, 0)


def test_many_rows_are_looked_at_in_part(monkeypatch):
    values = np.random.default_rng(0).normal(size=(4000, 5)).astype(np.float32) * np.float32([1, 8, 2, 4, 1])
    whole = principal_colors(values)
    monkeypatch.setattr(principal, "SAMPLED_VALUES", values.size // 4)
    part = principal_colors(values)
    assert not np.array_equal(part, whole)
    assert np.abs(part.astype(int) - whole).max() < 30


def test_components_of_many_values_are_those_of_the_whole_matrix():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 200)) * np.linspace(4, 0.1, 200) ** 2
    matrix = np.cov(values.T)
    _, expected = np.linalg.eigh(matrix)
    found = principal._largest_eigenvectors(matrix)
    assert np.abs((found * expected[:, :-4:-1]).sum(0)).min() > 0.999


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (1, 5), (6, 1), (6, 2)])
def test_few_rows_and_few_values(shape):
    values = np.random.default_rng(0).random(shape, np.float32)
    colors = principal_colors(values)
    assert colors.shape == (shape[0], 3)
    assert colors.dtype == np.uint8
    assert not colors[:, shape[1] :].any()
