"""Models that Pointcept itself runs: a stand-in for it, in a process of its own, and what is said where it is not."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]
BUILDER = """
import torch
from torch import nn


class Normals(nn.Module):
    def __init__(self, in_channels, num_classes, shuffle_orders=True):
        super().__init__()
        self.shuffle_orders = shuffle_orders
        self.head = nn.Linear(in_channels + 3, num_classes)

    def forward(self, sample):
        assert sample["grid_coord"].dtype == torch.int32 and len(sample["offset"]) == 1
        of_cloud = sample["coord"].mean(0).expand(len(sample["coord"]), 3) * 0
        noise = torch.randn(1) if self.shuffle_orders else 0
        return self.head(torch.cat([sample["feat"], sample["normal"] + of_cloud], 1)) + noise


class Segmentor(nn.Module):
    def __init__(self, backbone, criteria=None):
        super().__init__()
        assert criteria is None
        self.backbone = Normals(**{key: value for key, value in backbone.items() if key != "type"})

    def forward(self, sample):
        return {"seg_logits": self.backbone(sample)}


def build_model(config):
    if config.backbone.type == "ST-v1m1":
        import no_such_operators
    return Segmentor(config["backbone"])
"""
MODEL = {
    "type": "DefaultSegmentor",
    "backbone": {"type": "NormalFormer", "in_channels": 3, "num_classes": 20},
    "criteria": [{"type": "CrossEntropyLoss"}],
}


@pytest.fixture
def pointcept(tmp_path) -> Path:
    """Where a package pointcept is whose networks read normals beside their features."""
    (tmp_path / "installed/pointcept/models").mkdir(parents=True)
    (tmp_path / "installed/pointcept/__init__.py").touch()
    (tmp_path / "installed/pointcept/models/__init__.py").write_text(BUILDER)
    return tmp_path / "installed"


@pytest.fixture
def experiment(folder) -> Path:
    """An experiment with a network that only Pointcept has; its features are colors."""
    text = (folder / "config.py").read_text()
    start, end = text.index("model = dict("), text.index("optimizer = ")
    text = text[:start] + f"model = {MODEL!r}\n" + text[end:]
    text = text.replace("keys=('coord', 'grid_coord', 'index')", "keys=('coord', 'grid_coord', 'index', 'normal')")
    text = text.replace("feat_keys=('color', 'normal')", "feat_keys=('color',)")
    (folder / "config.py").write_text(text)
    generator = torch.Generator().manual_seed(0)
    weights = {
        "module.backbone.head.weight": torch.randn(20, 6, generator=generator),
        "module.backbone.head.bias": torch.randn(20, generator=generator),
    }
    torch.save({"state_dict": weights}, folder / "model/model_best.pth")
    return folder


def pointserve(*arguments: str | Path, installed: Path | None = None, **settings: str):
    path = os.pathsep.join(str(part) for part in (installed, ROOT) if part)
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "500", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def cloud(path: Path) -> Path:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(300, 3))
    np.savez(
        path,
        coord=rng.uniform(0, 2, (300, 3)),
        color=rng.integers(0, 256, (300, 3)).astype(np.float32),
        normal=(normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32),
    )
    return path


def test_a_type_that_is_not_native_is_run_by_pointcept(experiment, pointcept, tmp_path):
    done = pointserve(
        "predict", cloud(tmp_path / "in.npz"), "-o", tmp_path / "out.npz", "--models", experiment, installed=pointcept
    )
    assert done.returncode == 0, done.stderr
    assert "Pointcept itself ran the network: the type is not served natively." in done.stdout + done.stderr
    given, found = np.load(tmp_path / "in.npz"), np.load(tmp_path / "out.npz")
    weights = torch.load(experiment / "model/model_best.pth", weights_only=True)["state_dict"]
    voxels = np.column_stack([given["color"] / 255, given["normal"]]).astype(np.float32)
    weight, bias = (weights[f"module.backbone.head.{name}"].numpy() for name in ("weight", "bias"))
    labels = found["segment"] if "segment" in found else found["labels"]
    np.testing.assert_array_equal(labels.reshape(-1), (voxels @ weight.T + bias).argmax(1))


@pytest.mark.parametrize(
    ("backbone", "has_pointcept", "told"),
    [
        ("NormalFormer", False, "no module pointcept, which the package Pointcept (github.com/Pointcept/Pointcept)"),
        ("ST-v1m1", True, "no module torch_points3d, which the package torch-points3d brings"),
        ("OctFormer-v1m1", True, "no module ocnn, which the package ocnn brings"),
    ],
)
def test_what_is_missing_is_named(experiment, pointcept, backbone, has_pointcept, told):
    text = (experiment / "config.py").read_text().replace("NormalFormer", backbone)
    (experiment / "config.py").write_text(text)
    done = pointserve("models", "check", experiment, installed=pointcept if has_pointcept else None)
    assert done.returncode == 1
    assert told in done.stdout
    assert f"{backbone} through Pointcept (backend=upstream)" in done.stdout


def test_backend_native_refuses_what_is_not_native(experiment, pointcept):
    done = pointserve("models", "check", experiment, installed=pointcept, POINTSERVE_BACKEND="native")
    assert done.returncode == 1
    assert "'NormalFormer' is not served natively" in done.stdout


def test_native_types_run_by_pointcept_where_that_is_asked_for(golden, pointcept):
    done = pointserve(
        "models", "check", golden, installed=pointcept, POINTSERVE_BACKEND=f"native,{golden.name}=upstream"
    )
    assert done.returncode == 1  # the stand-in has no such network
    assert "SpUNet-v1m1 through Pointcept (backend=upstream): it cannot be built: TypeError" in done.stdout


def test_a_config_that_names_a_file_of_weights_is_refused(experiment, pointcept):
    text = (experiment / "config.py").read_text().replace("'in_channels': 3", "'in_channels': 3, 'path': 'exp/w.pth'")
    (experiment / "config.py").write_text(text)
    done = pointserve("models", "check", experiment, installed=pointcept)
    assert done.returncode == 1
    assert "'exp/w.pth', which Pointcept would load by itself" in done.stdout
