"""Clouds for the bundled model."""

import numpy as np

from app.clouds.cloud import Cloud


def hills(num_points: int, seed: int) -> Cloud:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 100, (2, num_points))
    above_m = np.where(rng.random(num_points) < 0.2, rng.uniform(0, 8, num_points), 0)
    return Cloud(xyz=np.column_stack([x, y, 5 * np.sin(x / 20) * np.cos(y / 30) + above_m]), format="npy")
