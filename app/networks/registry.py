"""From the ``model`` of a config to a network."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from app.errors import BadModel

from .heads import DefaultSegmentor, DefaultSegmentorV2
from .ptv3.backbone import PointTransformerV3
from .spunet import SpUNet

BACKBONES: dict[str, type[nn.Module]] = {"PT-v3m1": PointTransformerV3, "SpUNet-v1m1": SpUNet}
SEGMENTORS: dict[str, type[nn.Module]] = {
    "DefaultSegmentor": DefaultSegmentor,
    "DefaultSegmentorV2": DefaultSegmentorV2,
}
TRAINING_ONLY = {"criteria", "freeze_backbone"}


def build(model: Mapping[str, Any]) -> nn.Module:
    """The network that ``model`` (the config's ``model=dict(...)``) describes, in eval mode, weights not loaded.

    The network has ``plan(scene)`` and ``forward(features, plan)``. Raises BadModel where a type is not served or a
    key is unknown to it.
    """
    segmentor = _look_up(SEGMENTORS, model, "model")
    arguments = {key: value for key, value in model.items() if key not in TRAINING_ONLY | {"type", "backbone"}}
    if not isinstance(model.get("backbone"), Mapping):
        raise BadModel(f"model.backbone must be a dict(type=…), got {model.get('backbone')!r}")
    backbone_config = model["backbone"]
    backbone = _construct(
        _look_up(BACKBONES, backbone_config, "model.backbone"),
        {key: value for key, value in backbone_config.items() if key != "type"},
        "model.backbone",
    )
    return _construct(segmentor, {"backbone": backbone, **arguments}, "model").eval()


def _look_up(kinds: dict[str, type[nn.Module]], config: Mapping[str, Any], where: str) -> type[nn.Module]:
    name = config.get("type")
    if name not in kinds:
        raise BadModel(f"{where}.type {name!r} is not served yet; served are {', '.join(sorted(kinds))}")
    return kinds[name]


def _construct(kind: type[nn.Module], arguments: dict[str, Any], where: str) -> nn.Module:
    accepted = list(inspect.signature(kind).parameters)
    unknown = sorted(set(arguments) - set(accepted))
    if unknown:
        raise BadModel(f"{where}: unknown key {', '.join(unknown)}; {kind.__name__} accepts {', '.join(accepted)}")
    try:
        return kind(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadModel(f"{where}: {error}") from error
