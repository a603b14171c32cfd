"""Packages that Pointcept's networks need, and which of them are not installed."""

from collections.abc import Iterable
from importlib.util import find_spec

# by the module that each brings
PACKAGES = {
    "MinkowskiEngine": "MinkowskiEngine (github.com/NVIDIA/MinkowskiEngine)",
    "SharedArray": "sharedarray",
    "Swin3D": "Swin3D (github.com/microsoft/Swin3D)",
    "clip": "clip (github.com/openai/CLIP)",
    "flash_attn": "flash-attn",
    "pointcept": "Pointcept (github.com/Pointcept/Pointcept), on PYTHONPATH",
    "pointops2": "pointops2 (libs/pointops2 of Pointcept)",
    "spconv": "spconv, or spconv-cu… for the version of CUDA",
    "torch_cluster": "torch-cluster",
    "torch_geometric": "torch-geometric",
    "torch_points3d": "torch-points3d",
    "torch_points_kernels": "torch-points-kernels",
    "torch_scatter": "torch-scatter",
    "torchsparse": "torchsparse (github.com/mit-han-lab/torchsparse)",
}
# modules that types need whose names begin so; Pointcept itself is imported without them
NEEDS = {
    "LitePT": ("flash_attn",),
    "MinkUNet": ("MinkowskiEngine",),
    "OctFormer": ("ocnn",),
    "PPT-v1m1": ("clip",),
    "PPT-v1m3": ("clip",),
    "SPVCNN": ("torchsparse",),
    "ST-": ("torch_points3d", "torch_points_kernels", "torch_geometric", "pointops2"),
    "Swin3D": ("MinkowskiEngine", "Swin3D"),
}


def absent(kinds: Iterable[str]) -> list[str]:
    """Modules that types ``kinds`` need and that are not installed, each once."""
    needed = [name for kind in kinds for prefix, names in NEEDS.items() if kind.startswith(prefix) for name in names]
    return [name for name in dict.fromkeys(needed) if find_spec(name) is None]


def missing_message(module: str) -> str:
    """A message that ``module`` is missing and which package brings it."""
    return f"there is no module {module}, which the package {PACKAGES.get(module, module)} brings"
