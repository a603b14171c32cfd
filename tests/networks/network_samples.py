"""Voxels, and networks with weights that leave no part of them without effect."""

import torch
from torch import nn

from app.networks.registry import build

SPUNET = {
    "type": "SpUNet-v1m1",
    "in_channels": 4,
    "num_classes": 0,
    "base_channels": 8,
    "channels": (8, 12, 12, 8),
    "layers": (1, 1, 1, 1),
}


def make_voxels(seed: int, num_voxels: int = 500, batch: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randint(0, 16, (num_voxels, 3), generator=generator).unique(dim=0)
    return torch.cat([torch.full((len(grid), 1), batch), grid], 1)


def strangers() -> list[torch.Tensor]:
    """Clouds of different depth: a usual one, one wide, one below a patch, one voxel."""
    wide = make_voxels(2, 300, batch=1)
    wide[:, 1:] *= 9
    few = make_voxels(3, 30, batch=2)
    return [make_voxels(1, 900), wide, few, torch.tensor([[3, 0, 0, 0]])]


@torch.no_grad()
def make_network(model: dict, seed: int = 0) -> nn.Module:
    """The network of ``model``, every parameter and statistic drawn."""
    torch.manual_seed(seed)
    network = build(model)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.copy_(torch.randn_like(module.running_mean))
            module.running_var.copy_(torch.rand_like(module.running_var) + 0.5)
            if module.affine:
                module.weight.copy_(torch.randn_like(module.weight))
                module.bias.copy_(torch.randn_like(module.bias))
    for name, buffer in network.named_buffers():
        if "class_embedding" in name:
            buffer.copy_(nn.functional.normalize(torch.randn_like(buffer)))
    return network
