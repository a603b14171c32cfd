"""The table of network types, and the builder of networks from a config's ``model``; importable without torch.

The class of a type is imported when a network of it is built.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from app.errors import BadModel

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Network

UPSTREAM = "Upstream"  # of a model that wraps another's config
BACKBONE, SEGMENTOR = "backbone", "segmentor"
TRAINING_ONLY = {"criteria", "freeze_backbone"}


class NetworkType(NamedTuple):
    """The class that serves a type, and the places in a config that the type takes.

    Attributes:
        module: the module of the class, below app.networks.
        name: the name of the class.
        roles: SEGMENTOR is the place of the config's ``model``, around a backbone; BACKBONE that of such a backbone. A
            type with both is a backbone only with ``backbone_mode=True``.
    """

    module: str
    name: str
    roles: tuple[str, ...] = (BACKBONE,)

    def load(self) -> type["Network"]:
        """The class, imported now."""
        return getattr(import_module(f"app.networks.{self.module}"), self.name)


NETWORKS = {
    "CAC-v1m1": NetworkType("context_aware", "ContextAwareClassifier", (SEGMENTOR,)),
    "DefaultLORASegmentorV2": NetworkType("segmentors", "LoraSegmentor", (SEGMENTOR,)),
    "DefaultSegmentor": NetworkType("segmentors", "DefaultSegmentor", (SEGMENTOR,)),
    "DefaultSegmentorV2": NetworkType("segmentors", "DefaultSegmentorV2", (SEGMENTOR,)),
    "Encoder": NetworkType("segmentors", "Encoder", (SEGMENTOR,)),
    "LitePT-v1": NetworkType("litept", "LitePT"),
    "OACNNs": NetworkType("oacnns", "OACNNs"),
    "PG-v1m1": NetworkType("pointgroup", "PointGroup", (SEGMENTOR,)),
    "PG-v1m2": NetworkType("pointgroup", "PointGroup", (SEGMENTOR,)),
    "PPT-v1m1": NetworkType("prompts", "LanguagePrompts", (SEGMENTOR, BACKBONE)),
    "PPT-v1m2": NetworkType("prompts", "DecoupledPrompts", (SEGMENTOR, BACKBONE)),
    "PPT-v1m3": NetworkType("prompts", "JointLanguagePrompts", (SEGMENTOR, BACKBONE)),
    "PT-v2m1": NetworkType("ptv2", "GroupedPointTransformerV2"),
    "PT-v2m2": NetworkType("ptv2", "PointTransformerV2"),
    "PT-v2m3": NetworkType("ptv2_prompted", "PromptedPointTransformerV2"),
    "PT-v3m1": NetworkType("ptv3.backbone", "PointTransformerV3"),
    "PT-v3m2": NetworkType("ptv3.sonata", "PointTransformerV3m2"),
    "PT-v3m3": NetworkType("ptv3.sonata", "PointTransformerV3m3"),
    "PointTransformer-Seg26": NetworkType("ptv1", "PointTransformerSeg26"),
    "PointTransformer-Seg38": NetworkType("ptv1", "PointTransformerSeg38"),
    "PointTransformer-Seg50": NetworkType("ptv1", "PointTransformerSeg50"),
    "SpUNet-v1m1": NetworkType("spunet", "SpUNet"),
    "SpUNet-v1m3": NetworkType("spunet_prompted", "PromptedSpUNet"),
}


def is_native(model: Any) -> bool:
    """Whether the types of a config's ``model`` and of all backbones in it are in the table."""
    if not isinstance(model, Mapping) or model.get("type") not in NETWORKS:
        return False
    return "backbone" not in model or is_native(model["backbone"])


def types_with(attribute: str) -> list[str]:
    """The types whose class declares ``attribute`` of ``Network`` as true."""
    return [name for name, kind in NETWORKS.items() if getattr(kind.load(), attribute) is True]


def build(model: Mapping[str, Any]) -> "Network":
    """The network that ``model`` (the config's ``model=dict(...)``) describes, in eval mode, weights not loaded.

    Raises BadModel if a type is not served or a key is unknown to it.
    """
    if model.get("type") == UPSTREAM:
        upstream = import_module("app.networks.upstream")
        return upstream.Upstream(model["model"], model["inputs"]).eval()
    return _build(SEGMENTOR, model, "model").eval()


def completed(model: Any, weights: Mapping[str, "Tensor"]) -> Any:
    """A config's ``model`` with the arguments that only its weights show, those of its backbone too."""
    if not isinstance(model, Mapping) or model.get("type") not in NETWORKS:
        return model
    found = {**NETWORKS[model["type"]].load().arguments_from_weights(weights), **model}
    if "backbone" in model:
        within = {name.removeprefix("backbone."): weights[name] for name in weights if name.startswith("backbone.")}
        found["backbone"] = completed(model["backbone"], within)
    return found


def _build(role: str, config: Mapping[str, Any], where: str) -> "Network":
    """The network of ``config`` for its ``role``, around its own backbone if it is a segmentor too."""
    kind = _look_up(role, config, where)
    arguments = {key: value for key, value in config.items() if key != "type"}
    if SEGMENTOR in kind.roles:
        if not isinstance(config.get("backbone"), Mapping):
            raise BadModel(f"{where}.backbone must be a dict(type=…), got {config.get('backbone')!r}")
        arguments = {key: value for key, value in arguments.items() if key not in TRAINING_ONLY}
        arguments["backbone"] = _build(BACKBONE, config["backbone"], f"{where}.backbone")
        if role == BACKBONE and not arguments.get("backbone_mode"):
            raise BadModel(f"{where}: {config['type']} is a backbone only with backbone_mode=True")
    return _construct(kind.load(), arguments, where)


def _look_up(role: str, config: Mapping[str, Any], where: str) -> NetworkType:
    name = config.get("type")
    served = sorted(name for name, kind in NETWORKS.items() if role in kind.roles)
    if name not in served:
        raise BadModel(f"{where}.type {name!r} is not served natively; served so are {', '.join(served)}")
    return NETWORKS[name]


def _construct(kind: type["Network"], arguments: dict[str, Any], where: str) -> "Network":
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
        given = ", ".join(f"{key}={value!r:.60}" for key, value in arguments.items() if key != "backbone")
        raise BadModel(
            f"{where}: no {kind.__name__} can be made of {given[:600] or 'nothing'}; lengths and types must be as in "
            "Pointcept's own configs"
        ) from error


def _required(kind: type["Network"]) -> list[str]:
    """Names of the arguments of ``kind`` that have no default."""
    parameters = inspect.signature(kind).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]


def _accepted(kind: type["Network"]) -> list[str]:
    """Names of the arguments of ``kind``; if it has **keywords, those of the class it extends come after."""
    names: list[str] = []
    for each in kind.__mro__:
        parameters = inspect.signature(each).parameters.values()
        names += [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return names
