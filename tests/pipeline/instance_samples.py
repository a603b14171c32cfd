"""Colored balls, and a network that finds them as objects."""

import numpy as np
import torch

from app.clouds.cloud import Cloud
from app.networks.network import Network
from app.networks.pointgroup import PointGroup
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import make_procedure

COLORS = np.eye(3, dtype=np.uint8) * 255


class Passing(Network):
    """A backbone whose features are its input."""

    plans_positions = False
    out_channels = 3

    def plan(self, batch):
        return None

    def forward(self, features, plan):
        return features


def make_segmenter():
    """Classes 10, 11 and 12 are red, green and blue; what is red is no object."""
    network = PointGroup(
        Passing(), 3, 3, segment_ignore_index=(-1, 0), cluster_propose_points=20, cluster_min_points=5, voxel_size=0.1
    ).eval()
    with torch.no_grad():
        network.seg_head.weight.copy_(torch.eye(3) * 8)
        network.seg_head.bias.zero_()
        network.bias_head[3].weight.zero_()
        network.bias_head[3].bias.zero_()
    return Segmenter(network, make_procedure(("color",), 0.1, num_classes=3))


def ball(middle, color, num_points=800, seed=0):
    rng = np.random.RandomState(seed)
    directions = rng.randn(num_points, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    xyz = directions * 0.4 * rng.rand(num_points, 1) ** (1 / 3) + middle
    return xyz, np.tile(COLORS[color], (num_points, 1))


def scene(*balls):
    xyz, rgb = (np.concatenate(parts) for parts in zip(*balls, strict=True))
    return Cloud(xyz, "npy", rgb=rgb)
