import copy
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from app.clouds.cloud import ClassInfo, Cloud
from app.networks.network import Network
from app.networks.registry import build
from app.pipeline.procedure import InferenceProcedure

GOLDEN = Path(__file__).parents[1] / "golden"


def make_network():
    """SpUNet with six inputs and six classes, random weights of a golden case."""
    case = GOLDEN / "spunet_v1m1_batch3_tiny_mix"
    network = build(json.loads((case / "config.json").read_text())["model"])
    network.load_state_dict(load_file(case / "weights.safetensors"))
    return network


def make_procedure(feat_keys=("color", "normal"), grid_size=0.5, transform=(), num_classes=6):
    return InferenceProcedure(
        name="made-up",
        transform=[*transform, {"type": "CenterShift", "apply_z": True}, {"type": "NormalizeColor"}],
        voxelize={"type": "GridSample", "grid_size": grid_size, "mode": "test", "return_grid_coord": True},
        post_transform=[{"type": "ToTensor"}, {"type": "Collect", "keys": ("coord",), "feat_keys": tuple(feat_keys)}],
        classes=[ClassInfo(10 + i, f"class {i}", (i, i, i)) for i in range(num_classes)],
    )


def make_terrain(num_points=3000, extent_m=40.0, seed=0):
    """Hills with things standing on them, with color, normals, intensity and return numbers."""
    rng = np.random.RandomState(seed)
    x, y = rng.uniform(0, extent_m, (2, num_points))
    above = np.where(rng.rand(num_points) < 0.2, rng.uniform(0, 8, num_points), 0)
    z = 5 * np.sin(x / 20) * np.cos(y / 30) + above
    return Cloud(
        xyz=np.column_stack([x, y, z]),
        format="npy",
        rgb=rng.randint(0, 256, (num_points, 3)).astype(np.uint8),
        normals=np.tile(np.float32([0, 0, 1]), (num_points, 1)),
        intensity=rng.randint(0, 256, num_points).astype(np.float32),
        intensity_scale=255.0,
    )


def tensors(sample):
    """A sample of arrays as one of tensors."""
    return {name: torch.from_numpy(values) for name, values in sample.items()}


PROBE = {
    "type": "DefaultSegmentorV2",
    "num_classes": 4,
    "backbone_out_channels": 24,
    "backbone": {
        "type": "PT-v3m2",
        "in_channels": 6,
        "stride": (2,),
        "enc_depths": (1, 1),
        "enc_channels": (8, 16),
        "enc_num_head": (1, 2),
        "enc_patch_size": (64, 64),
        "enc_mode": True,
    },
}


class Positions(Network):
    """A network that plans for positions within voxels: of every point, its voxel's and its neighbours in the list."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(9, 6)

    def plan(self, batch):
        num_clouds = int(batch.voxels[-1, 0]) + 1
        parts = [batch.coord[batch.voxels[:, 0] == number] for number in range(num_clouds)]
        return torch.cat([batch.coord / 10, torch.cat([part.roll(1, 0) for part in parts])], 1)

    def forward(self, features, plan):
        return self.head(torch.cat([features[:, :3], plan], 1))


def make_overflowing(network):
    """Activations of bright points are past what float16 holds, those of dark ones are not."""
    scaled = copy.deepcopy(network)
    scaled.backbone.conv_input[0].weight.data *= 3e4
    scaled.backbone.conv_input[1].bias.data.zero_()
    scaled.backbone.conv_input[1].running_mean.zero_()
    return scaled
