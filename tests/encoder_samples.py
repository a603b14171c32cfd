"""Small encoders and heads in files of their own, as Sonata and Utonia are released."""

from pathlib import Path

import torch

from app.networks import registry

CONFIG = {
    "in_channels": 9,
    "order": ("z", "z-trans", "hilbert", "hilbert-trans"),
    "stride": (2, 2),
    "enc_depths": (1, 1, 1),
    "enc_channels": (12, 24, 36),
    "enc_num_head": (2, 2, 2),
    "enc_patch_size": (64, 64, 64),
    "layer_scale": None,
    "shuffle_orders": True,
    "traceable": True,
    "mask_token": True,
    "enc_mode": True,
    "freeze_encoder": False,
}
WIDTH = sum(CONFIG["enc_channels"])


def write_encoder(path: Path, kind: str = "PT-v3m2", changes: dict | None = None) -> torch.nn.Module:
    """Write a network of ``CONFIG``, whose config says ``changes`` instead, and return it."""
    torch.manual_seed(0)
    network = registry.build({"type": "Encoder", "backbone": {"type": kind, **CONFIG}}).backbone
    torch.save({"config": CONFIG | (changes or {}), "state_dict": network.state_dict()}, path)
    return network


def write_head(path: Path, width: int = WIDTH, num_classes: int = 20, **more) -> torch.nn.Linear:
    """Write a linear head, whose config says ``more`` too, and return it."""
    head = torch.nn.Linear(width, num_classes)
    state = {"seg_head.weight": head.weight.detach(), "seg_head.bias": head.bias.detach()}
    config = {"backbone_out_channels": width, "num_classes": num_classes, **more}
    torch.save({"config": config, "state_dict": state}, path)
    return head
