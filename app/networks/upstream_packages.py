"""Packages that Pointcept's networks stand on, and which of them are not here."""

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
# modules without which types that begin so cannot be built, though Pointcept is imported without them
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
    """Modules that are not here and that types ``kinds`` need, each once."""
    needed = [name for kind in kinds for prefix, names in NEEDS.items() if kind.startswith(prefix) for name in names]
    return [name for name in dict.fromkeys(needed) if find_spec(name) is None]


def told(module: str) -> str:
    """That ``module`` is not here, and what brings it."""
    return f"there is no module {module}, which the package {PACKAGES.get(module, module)} brings"
