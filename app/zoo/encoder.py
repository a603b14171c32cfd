"""Pretrained encoders in one file of config and weights, as Sonata, Concerto and Utonia are released.

Their procedure is that of their own packages. A linear probe is a second file beside it, a head called
``<encoder>_linear_prob_head_<dataset>.pth``; a model is named by either file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import BadModel, UnreadableModel
from app.pipeline.procedure import InferenceProcedure
from app.settings import ModelSettings

from .classes import describe, names_of

if TYPE_CHECKING:
    from torch import Tensor

HEAD = "_linear_prob_head"
SUFFIX = ".pth"
DATASETS = {"sc": "ScanNet"}  # by the end of a head's name
FEATURES = ("coord", "color", "normal")
ROPE = "rope.inv_freq"
HEAD_KEYS = {"backbone_out_channels", "num_classes"}
INDOORS = (
    "Coordinates were taken for metres of an indoor scene and halved, as Utonia wants them; for streets, where the "
    "factor is 0.2 and heights count from the road, describe the model by a config.py."
)


@dataclass(frozen=True)
class EncoderFile:
    """What the file ``path``, an encoder's or its head's, comes to: ``weights`` is the encoder's file."""

    path: Path
    weights: Path
    model: dict[str, Any]
    procedure: InferenceProcedure
    dataset: str | None


def is_encoder(path: Path) -> bool:
    """Whether ``path`` names a file rather than an experiment folder."""
    return path.suffix == SUFFIX and path.is_file()


def weights_of(path: Path) -> Path:
    """The encoder that the file at ``path`` is a head for, else ``path`` itself; neither need exist."""
    name, found, _ = path.name.partition(HEAD)
    return path.with_name(name + SUFFIX) if found else path


def load(path: Path, settings: ModelSettings) -> EncoderFile:
    """The model of an encoder's file or of its head's. Raises BadModel if it is neither."""
    from . import checkpoint  # torch, which a process that only finds experiments does without

    weights = _encoder_of(path)
    config, names = checkpoint.read_config(weights, settings)
    has_rope = any(name.endswith(ROPE) for name in names)
    kind = {"type": "PT-v3m3", "rope_base": 10} if has_rope else {"type": "PT-v3m2"}
    backbone = kind | config
    model: dict[str, Any] = {"type": "Encoder", "backbone": backbone}
    dataset, num_classes = None, 0
    if path != weights:
        head, _ = checkpoint.read_config(path, settings)
        num_classes = head.get("num_classes", 0)
        if set(head) != HEAD_KEYS or not all(type(size) is int and size > 0 for size in head.values()):
            raise BadModel(f"{path.name}: config is {head!r:.200}; accepted is {{backbone_out_channels, num_classes}}")
        model = {"type": "DefaultSegmentorV2", **head, "backbone": backbone}
        dataset = DATASETS.get(path.stem.rpartition("_")[2])
    return EncoderFile(path, weights, model, _procedure(path.name, has_rope, dataset, num_classes), dataset)


def assemble(path: Path, weights: Mapping[str, "Tensor"], settings: ModelSettings) -> dict[str, "Tensor"]:
    """The weights of the model that ``path`` names, from those of its encoder."""
    from . import checkpoint

    joined = {f"backbone.{name}": weight for name, weight in weights.items()}
    return joined if path == _encoder_of(path) else joined | checkpoint.read(path, settings)


def _encoder_of(path: Path) -> Path:
    weights = weights_of(path)
    if not weights.is_file():
        raise UnreadableModel(
            f"{path.name} is a head for the encoder {weights.name}, which must lie beside it and does not"
        )
    return weights


def _procedure(name: str, is_utonia: bool, dataset: str | None, num_classes: int) -> InferenceProcedure:
    scale = [{"type": "RandomScale", "scale": [0.5, 0.5]}] if is_utonia else []
    return InferenceProcedure(
        name=name,
        transform=[*scale, {"type": "CenterShift", "apply_z": True}],
        voxelize={
            "type": "GridSample",
            "grid_size": 0.01 if is_utonia else 0.02,
            "hash_type": "fnv",
            "mode": "test",
            "return_grid_coord": True,
        },
        post_transform=[
            {"type": "NormalizeColor"},
            {"type": "ToTensor"},
            {"type": "Collect", "keys": ("coord", "grid_coord"), "feat_keys": FEATURES},
        ],
        classes=describe(dataset, names_of(dataset, num_classes)),
        remarks=[INDOORS] if is_utonia else [],
    )
