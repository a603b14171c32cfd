"""Made-up clouds."""

import numpy as np
import torch
from torch import Tensor


def room(num_points: int, rng: np.random.Generator) -> Tensor:
    """The inside of a room of 8 × 6 × 3 m and what stands in it, with 5 mm noise, (N, 3) in m."""
    size = np.array([8.0, 6.0, 3.0])
    coords, wall = rng.uniform(0, size, (num_points, 3)), rng.integers(0, 7, num_points)
    for axis in range(3):
        coords[wall == 2 * axis, axis] = 0
        coords[wall == 2 * axis + 1, axis] = size[axis]
    return torch.from_numpy((coords + rng.normal(0, 0.005, coords.shape)).astype(np.float32))


def sweep(num_points: int, rng: np.random.Generator) -> Tensor:
    """Around a lidar on a car: dense near by, thin at 80 m, (N, 3) in m."""
    distance, angle = 3 + np.abs(rng.normal(0, 18, num_points)), rng.uniform(0, 2 * np.pi, num_points)
    height = rng.choice([-1.8, -1.8, -1.8, 0.0, 2.0], num_points) + rng.normal(0, 0.02, num_points)
    coords = np.stack([distance * np.cos(angle), distance * np.sin(angle), height], 1)
    return torch.from_numpy(coords.astype(np.float32))


def cube(num_points: int, rng: np.random.Generator) -> Tensor:
    """Evenly in a cube of one metre, (N, 3)."""
    return torch.from_numpy(rng.uniform(0, 1, (num_points, 3)).astype(np.float32))
