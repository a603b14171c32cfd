"""Tiles of a survey, and their rings."""

import numpy as np

from app.clouds import strips
from tests.pipeline.pipeline_samples import make_terrain

READ = {"color", "normal", "strength", "return_number"}


def make_tile(west_m=0.0, num_points=2000, seed=0, extent_m=40.0):
    cloud = make_terrain(num_points, extent_m, seed)
    cloud.xyz += [west_m, 0, 0]
    rng = np.random.RandomState(seed)
    cloud.extra = {"return_number": rng.randint(1, 4, num_points).astype(np.uint8), "gps_time": rng.rand(num_points)}
    return cloud


def box(west_m, extent_m=40.0):
    return west_m, 0.0, -9.0, west_m + extent_m, extent_m, 99.0


def ring_of(cloud, west_m, width_m=8.0, columns=READ):
    return strips.ring(cloud, box(west_m), width_m, columns)
