"""From the ``model`` of a config to a network."""

import inspect
from collections.abc import Mapping
from typing import Any

from app.errors import BadModel

from . import upstream
from .context_aware import ContextAwareClassifier
from .heads import DefaultSegmentor, DefaultSegmentorV2, Encoder
from .kinds import UPSTREAM
from .litept import LitePT
from .lora import LoraSegmentor
from .network import Network
from .oacnns import OACNNs
from .pointgroup import PointGroup
from .prompts import DecoupledPrompts, JointLanguagePrompts, LanguagePrompts
from .ptv1 import PointTransformerSeg26, PointTransformerSeg38, PointTransformerSeg50
from .ptv2 import GroupedPointTransformerV2, PointTransformerV2
from .ptv2_prompted import PromptedPointTransformerV2
from .ptv3.backbone import PointTransformerV3
from .ptv3.sonata import PointTransformerV3m2, PointTransformerV3m3
from .spunet import SpUNet
from .spunet_prompted import PromptedSpUNet

BACKBONES: dict[str, type[Network]] = {
    "LitePT-v1": LitePT,
    "OACNNs": OACNNs,
    "PT-v2m1": GroupedPointTransformerV2,
    "PT-v2m2": PointTransformerV2,
    "PT-v2m3": PromptedPointTransformerV2,
    "PT-v3m1": PointTransformerV3,
    "PT-v3m2": PointTransformerV3m2,
    "PT-v3m3": PointTransformerV3m3,
    "PointTransformer-Seg26": PointTransformerSeg26,
    "PointTransformer-Seg38": PointTransformerSeg38,
    "PointTransformer-Seg50": PointTransformerSeg50,
    "SpUNet-v1m1": SpUNet,
    "SpUNet-v1m3": PromptedSpUNet,
}
PROMPTS: dict[str, type[Network]] = {
    "PPT-v1m1": LanguagePrompts,
    "PPT-v1m2": DecoupledPrompts,
    "PPT-v1m3": JointLanguagePrompts,
}
SEGMENTORS: dict[str, type[Network]] = {
    "CAC-v1m1": ContextAwareClassifier,
    "DefaultLORASegmentorV2": LoraSegmentor,
    "DefaultSegmentor": DefaultSegmentor,
    "DefaultSegmentorV2": DefaultSegmentorV2,
    "Encoder": Encoder,
    "PG-v1m1": PointGroup,
    "PG-v1m2": PointGroup,
    **PROMPTS,
}
TRAINING_ONLY = {"criteria", "freeze_backbone"}


def build(model: Mapping[str, Any]) -> Network:
    """The network that ``model`` (the config's ``model=dict(...)``) describes, in eval mode, weights not loaded.

    The network has ``plan(batch)`` and ``forward(features, plan)``. Raises BadModel if a type is not served or a
    key is unknown to it.
    """
    if model.get("type") == UPSTREAM:
        return upstream.Upstream(model["model"], model["inputs"]).eval()
    return _build(SEGMENTORS, model, "model").eval()


def _build(kinds: dict[str, type[Network]], config: Mapping[str, Any], where: str) -> Network:
    """The network of ``config``, around that of its backbone where it is of a kind that has one."""
    kind = _look_up(kinds, config, where)
    arguments = {key: value for key, value in config.items() if key != "type"}
    if config["type"] in SEGMENTORS:
        if not isinstance(config.get("backbone"), Mapping):
            raise BadModel(f"{where}.backbone must be a dict(type=…), got {config.get('backbone')!r}")
        arguments = {key: value for key, value in arguments.items() if key not in TRAINING_ONLY}
        arguments["backbone"] = _build(BACKBONES | PROMPTS, config["backbone"], f"{where}.backbone")
        if where != "model" and not arguments.get("backbone_mode"):
            raise BadModel(f"{where}: {config['type']} is a backbone only with backbone_mode=True")
    return _construct(kind, arguments, where)


def _look_up(kinds: dict[str, type[Network]], config: Mapping[str, Any], where: str) -> type[Network]:
    name = config.get("type")
    if name not in kinds:
        raise BadModel(f"{where}.type {name!r} is not served natively; served so are {', '.join(sorted(kinds))}")
    return kinds[name]


def _construct(kind: type[Network], arguments: dict[str, Any], where: str) -> Network:
    accepted = _accepted(kind)
    unknown = sorted(set(arguments) - set(accepted))
    if unknown:
        raise BadModel(f"{where}: unknown key {', '.join(unknown)}; {kind.__name__} accepts {', '.join(accepted)}")
    missing = [name for name in _required(kind) if name not in arguments]
    if missing:
        raise BadModel(f"{where}: {kind.__name__} needs {', '.join(missing)}, which the config does not give")
    try:
        return kind(**arguments)
    except ValueError as error:
        raise BadModel(f"{where}: {error}") from error
    except (TypeError, RuntimeError, IndexError, KeyError, ZeroDivisionError, AssertionError) as error:
        given = ", ".join(f"{key}={value!r:.60}" for key, value in arguments.items() if not isinstance(value, Network))
        raise BadModel(
            f"{where}: no {kind.__name__} can be made of {given[:600] or 'nothing'}; lengths and types must be as in "
            "Pointcept's own configs"
        ) from error


def _required(kind: type[Network]) -> list[str]:
    """Names of the arguments of ``kind`` that have no default."""
    parameters = inspect.signature(kind).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]


def _accepted(kind: type[Network]) -> list[str]:
    """Names of the arguments of ``kind``; where it has **keywords, those of the class it extends come after."""
    names: list[str] = []
    for each in kind.__mro__:
        parameters = inspect.signature(each).parameters.values()
        names += [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names
