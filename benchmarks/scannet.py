"""Pointcept's models for ScanNet at full size: their configs, and an experiment folder with weights drawn at random."""

from pathlib import Path
from typing import Any

NETWORKS: dict[str, dict[str, Any]] = {
    "SpUNet": {
        "type": "DefaultSegmentor",
        "backbone": {
            "type": "SpUNet-v1m1",
            "in_channels": 6,
            "num_classes": 20,
            "channels": (32, 64, 128, 256, 256, 128, 96, 96),
            "layers": (2, 3, 4, 6, 2, 2, 2, 2),
        },
    },
    "PT-v3m1": {
        "type": "DefaultSegmentorV2",
        "num_classes": 20,
        "backbone_out_channels": 64,
        "backbone": {
            "type": "PT-v3m1",
            "in_channels": 6,
            "order": ("z", "z-trans", "hilbert", "hilbert-trans"),
            "enc_depths": (2, 2, 2, 6, 2),
            "enc_channels": (32, 64, 128, 256, 512),
            "enc_num_head": (2, 4, 8, 16, 32),
            "enc_patch_size": (1024,) * 5,
            "dec_depths": (2, 2, 2, 2),
            "dec_channels": (64, 64, 128, 256),
            "dec_num_head": (4, 4, 8, 16),
            "dec_patch_size": (1024,) * 4,
        },
    },
}
GRID_SIZE_M = 0.02
FEATURES = ("color", "normal")
CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter"),
    *("desk", "curtain", "refrigerator", "shower curtain", "toilet", "sink", "bathtub", "otherfurniture"),
)


def experiment(name: str, folder: Path, grid_size_m: float = GRID_SIZE_M, features: tuple[str, ...] = FEATURES) -> Path:
    """An experiment folder below ``folder`` with the network ``name`` and the test procedure of ScanNet.

    The network reads ``features``, each of three channels. Its exact mode looks from four sides at three scales, and
    once at the mirrored cloud.
    """
    import torch

    from app.networks.registry import build

    backbone = NETWORKS[name]["backbone"] | {"in_channels": 3 * len(features)}
    model = NETWORKS[name] | {"backbone": backbone}
    home = folder / f"scannet-semseg-{NETWORKS[name]['backbone']['type'].lower()}"
    (home / "model").mkdir(parents=True)
    (home / "config.py").write_text(f"model = {model!r}\ndata = {_data(grid_size_m, features)!r}\n")
    torch.manual_seed(0)
    weights = {f"module.{key}": value for key, value in build(model).state_dict().items()}
    torch.save({"state_dict": weights}, home / "model/model_best.pth")
    return home


def _data(grid_size_m: float, features: tuple[str, ...]) -> dict[str, Any]:
    collect = {"type": "Collect", "keys": ("coord", "grid_coord", "index"), "feat_keys": features}
    views = [
        [
            {"type": "RandomRotateTargetAngle", "angle": [angle], "axis": "z", "center": [0, 0, 0], "p": 1},
            {"type": "RandomScale", "scale": [scale, scale]},
        ]
        for scale in (1, 0.95, 1.05)
        for angle in (0, 1 / 2, 1, 3 / 2)
    ]
    return {
        "num_classes": len(CLASSES),
        "ignore_index": -1,
        "names": CLASSES,
        "test": {
            "type": "ScanNetDataset",
            "transform": [{"type": "CenterShift", "apply_z": True}, {"type": "NormalizeColor"}],
            "test_mode": True,
            "test_cfg": {
                "voxelize": {
                    "type": "GridSample",
                    "grid_size": grid_size_m,
                    "hash_type": "fnv",
                    "mode": "test",
                    "return_grid_coord": True,
                },
                "crop": None,
                "post_transform": [{"type": "CenterShift", "apply_z": False}, {"type": "ToTensor"}, collect],
                "aug_transform": [*views, [{"type": "RandomFlip", "p": 1}]],
            },
        },
    }
