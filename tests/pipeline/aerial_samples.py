"""The procedure of a model that reads heights, and a place far from the origin."""

from dataclasses import replace

import numpy as np

from tests.pipeline.pipeline_samples import make_procedure

HEIGHTS = [
    {"type": "Support", "cell_m": (3.0, 0.5)},
    {"type": "HeightAboveLowest", "cell_m": 2.0, "radii_m": (4.0,), "scale_m": 10.0, "clip_m": 50.0},
    {"type": "HeightAboveOpening", "cell_m": 1.5, "radii_m": (3.0,), "pit_m": 3.0, "least_support": 0.6},
]
AT = np.array([652_345.67, 6_861_234.5, 321.0])


def aerial_procedure(feat_keys=("offset", "height", "relief", "occupancy"), views=()):
    procedure = make_procedure(feat_keys)
    post = [{"type": "VoxelOffset", "grid_size": 0.5}, {"type": "Occupancy"}, *procedure.post_transform]
    transform = [{"type": "CenterShift", "apply_z": True}, *HEIGHTS]
    return replace(procedure, transform=transform, post_transform=post, aug_transform=list(views))
