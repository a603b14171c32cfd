"""Chooses what runs a model: the networks of this package, or Pointcept itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.errors import BadModel
from app.networks.registry import UPSTREAM, is_native
from app.pipeline.procedure import InferenceProcedure, Transform

from .procedure_parser import FEATURE_WIDTHS

REMARK = "Pointcept itself ran the network: {}."
# no inputs of a network by themselves
OTHERS = {"coord", "grid_coord", "segment", "instance", "offset", "condition", "index", "name", "inverse"}


def apply(
    model: dict[str, Any], procedure: InferenceProcedure, choice: str
) -> tuple[dict[str, Any], InferenceProcedure]:
    """The config's ``model`` and the procedure as they are, or as Pointcept runs them.

    Pointcept does if ``choice``, which is auto, native or upstream, says so, or if nothing else can.

    Pointcept's networks may read more of a voxel than its features; that then stands beside them.
    """
    if choice == "native" or (choice == "auto" and is_native(model)):
        return model, procedure
    remark = REMARK.format("backend=upstream says so" if choice == "upstream" else "the type is not served natively")
    inputs, steps = _inputs(procedure.post_transform)
    procedure = replace(procedure, post_transform=steps, remarks=[*procedure.remarks, remark])
    return wrap(model, inputs), procedure


def wrap(model: Mapping[str, Any], inputs: Mapping[str, int]) -> dict[str, Any]:
    """The ``model`` of a config for ``registry.build``, as Pointcept's; ``inputs`` as of ``Upstream``."""
    return {"type": UPSTREAM, "model": dict(model), "inputs": dict(inputs)}


def _inputs(steps: list[Transform]) -> tuple[dict[str, int], list[Transform]]:
    """What the last Collect of ``steps`` gathers, with widths, and the steps with all of it among the features.

    There are no widths if it gathers features alone.
    """
    last = max(i for i, step in enumerate(steps) if step["type"] == "Collect")
    columns = {key.removesuffix("_keys"): _names(steps[last][key]) for key in steps[last] if _is_joined(key)}
    alone = [name for name in _names(steps[last].get("keys", ())) if name not in OTHERS]
    columns |= {name: (name,) for name in alone if name not in columns}
    columns = {"feat": columns.pop("feat"), **columns}
    if len(columns) == 1:
        return {}, steps
    joined = tuple(name for names in columns.values() for name in names)
    kept = {key: value for key, value in steps[last].items() if not _is_joined(key)}
    collect = {**kept, "keys": ("coord",), "feat_keys": joined}
    widths = {what: sum(map(_width, names)) for what, names in columns.items()}
    return widths, [*steps[:last], collect, *steps[last + 1 :]]


def _is_joined(key: str) -> bool:
    return key.endswith("_keys") and key != "offset_keys"


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _width(name: str) -> int:
    if name not in FEATURE_WIDTHS:
        raise BadModel(
            f"config.py: Collect gathers {name}, whose width is not known; beside features a network of Pointcept may "
            f"read {', '.join(FEATURE_WIDTHS)}"
        )
    return FEATURE_WIDTHS[name]
