"""Networks that Pointcept itself builds and runs, if it is installed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import BadModel

from . import upstream_packages
from .network import Network
from .voxel_batch import VoxelBatch

FILES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
EXTRA_MODULES = {"Swin3D-v1m1": "pointcept.models.swin3d"}  # which pointcept.models leaves out


class Config(dict[str, Any]):
    """A dict with its keys as attributes, too, as Pointcept reads its configs."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Upstream(Network):
    """A network of Pointcept's own. It runs one cloud after the other, so that none changes another's answer.

    Orders are not shuffled. Attention runs without flash_attn if that or a GPU is missing; the patches of a single
    cloud are the same then.

    Args:
        model: the config's ``model``.
        inputs: what the network reads of a voxel and how wide that is, ``feat`` first, in the order in which they stand
            side by side in the features; empty if ``feat`` is all of them.

    Raises BadModel that names what is missing, or what Pointcept says.
    """

    def __init__(self, model: Mapping[str, Any], inputs: Mapping[str, int]):
        super().__init__()
        self.inputs = dict(inputs)
        self.kind = str(model.get("type"))
        self.module = _build(model).eval()

    def plan(self, batch: VoxelBatch) -> VoxelBatch:
        """The batch: the network plans for itself."""
        return batch

    def forward(self, features: Tensor, plan: VoxelBatch) -> Tensor:  # (V, sum of inputs) -> (V, num_classes)
        counts = plan.voxels[:, 0].bincount()
        parts = [len(features)] if plan.joint else counts.tolist()
        positions = plan.voxels.float() if plan.coord is None else plan.coord
        with _one_thread(features.device):
            logits = [
                self._ask(*rows, plan.condition)
                for rows in zip(features.split(parts), plan.voxels.split(parts), positions.split(parts), strict=True)
            ]
        return torch.cat(logits)

    def _ask(self, features: Tensor, voxels: Tensor, coord: Tensor, condition: str | None) -> Tensor:
        sample: dict[str, Any] = {"feat": features}
        sample |= zip(self.inputs, features.split(list(self.inputs.values()), 1), strict=True) if self.inputs else ()
        first = voxels[0, 0]
        sample |= {
            "coord": coord,
            "grid_coord": voxels[:, 1:].int(),
            "offset": (voxels[:, 0] - first).bincount().cumsum(0),
            "condition": [condition],
        }
        answer = self.module({name: value for name, value in sample.items() if name != "condition" or condition})
        if not isinstance(answer, Mapping) or "seg_logits" not in answer:
            found = ", ".join(answer) if isinstance(answer, Mapping) else type(answer).__name__
            raise BadModel(f"{self.kind} of Pointcept gives {found}; served through it are networks with seg_logits")
        return answer["seg_logits"]

    def train(self, mode: bool = True) -> "Upstream":
        """As of any module; spconv's CPU build takes a bias in its training mode alone, which changes nothing else."""
        super().train(mode)
        for part in self.module.modules():
            if type(part).__module__.startswith("spconv.") and not torch.cuda.is_available():
                part.training = True
        return self

    def folded(self) -> "Upstream":
        """This network: Pointcept runs it as it is."""
        return self


def _build(model: Mapping[str, Any]) -> nn.Module:
    kinds = list(_kinds(model))
    _refuse_files(model)
    what = f"{' with '.join(kinds)} through Pointcept (backend=upstream)"
    try:
        models = import_module("pointcept.models")
        for kind in kinds:
            if kind in EXTRA_MODULES:
                import_module(EXTRA_MODULES[kind])
    except ImportError as error:
        raise BadModel(f"{what}: {_missing(error)}") from error
    absent = upstream_packages.absent(kinds)
    if absent:
        raise BadModel(f"{what}: {'; '.join(map(upstream_packages.missing_message, absent))}")
    if any(kind.startswith("OctFormer") for kind in kinds) and find_spec("dwconv") is None:
        _convolve_by_ocnn()
    try:
        module = models.build_model(_for_inference(model))
    except Exception as error:  # whatever a constructor of Pointcept raises
        raise BadModel(f"{what}: it cannot be built: {type(error).__name__}: {error}") from error
    for part in module.modules():
        if hasattr(part, "shuffle_orders"):
            part.shuffle_orders = False
    return module


def _convolve_by_ocnn() -> None:
    """Give Pointcept's OctFormer the depthwise convolution of ocnn, which gives what dwconv does, without a GPU too."""
    convolution = import_module("ocnn.nn").OctreeDWConv

    def of_dwconv(in_channels: int, kernel_size: Any, nempty: bool, use_bias: bool) -> nn.Module:
        return convolution(in_channels, kernel_size, nempty=nempty, use_bias=use_bias)

    octformer: Any = import_module("pointcept.models.octformer.octformer_v1m1_base")
    octformer.dwconv = SimpleNamespace(OctreeDWConv=of_dwconv)


def lacks_flash(model: Any) -> bool:
    """Whether the config's ``model`` asks for flash attention that is not here."""
    while isinstance(model, Mapping):
        if _wants_flash(model):
            return not _has_flash()
        model = model.get("backbone")
    return False


def _wants_flash(config: Mapping[str, Any]) -> bool:
    return bool(config.get("enable_flash", str(config.get("type")).startswith("PT-v3")))


def _has_flash() -> bool:
    return torch.cuda.is_available() and find_spec("flash_attn") is not None


def _kinds(model: Any) -> Iterator[str]:
    """The types of a model and of what it stands on."""
    while isinstance(model, Mapping):
        if model.get("legacy_blocks"):
            raise BadModel("Pointcept of today runs no blocks of before v1.5.2: ask for backend=native")
        yield str(model.get("type"))
        model = model.get("backbone")


def _missing(error: ImportError) -> str:
    if error.name and isinstance(error, ModuleNotFoundError):
        return upstream_packages.missing_message(error.name.partition(".")[0])
    return f"it cannot be imported: {error}"


def _refuse_files(value: Any) -> None:
    """Raise BadModel if a config names a file of weights: Pointcept would unpickle it, and run what it says."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _refuse_files(item)
    elif isinstance(value, str) and value.endswith(FILES):
        raise BadModel(f"the model names the file {value!r:.100}, which Pointcept would load by itself; take it out")


def _for_inference(value: Any) -> Any:
    """A config without what trains, shuffles, or needs what is not here."""
    if isinstance(value, list | tuple):
        return type(value)(map(_for_inference, value))
    if not isinstance(value, Mapping):
        return value
    config = Config({key: _for_inference(item) for key, item in value.items() if key != "criteria"})
    if "shuffle_orders" in config:
        config["shuffle_orders"] = False
    if _wants_flash(config) and not _has_flash():
        config["enable_flash"] = False
    return config


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On a processor, with one thread: spconv's sums are wrong with more."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
