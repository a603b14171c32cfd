"""Old semantics for weights that old versions of Pointcept trained and later versions run differently.

Two things changed, each with a setting of its own. Before v1.6.0 colors went to networks as c / 127.5 - 1; configs of
that time have ``GridSample(keys=…)``. Before v1.5.2 a block of PT-v3m1 handed the output of its MLP, without the
shortcut, to the positional convolution of the next. No config shows that, so known weights are known by their hash.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.pipeline.procedure import InferenceProcedure, Transform
from app.settings import ModelSettings, value_for

from .digest import sha256

SHA256_OF_OLD_BLOCKS = {
    "40206376ff2f83f48e4d1bc27d5c5d96be7c87c5d11eb45fe7be501959040e7f",  # scannet-semseg-pt-v3m1-0-base
    "e2774d2fa1dd33e640a514afe0bd1e5af94eb08be19d08d1f9402f20dfd6db94",  # nuscenes-semseg-pt-v3m1-0-base
}
BACKBONE = "PT-v3m1"

OLD_COLORS = "Colors go to the network from -1 to 1, as Pointcept had it before v1.6.0"
OLD_BLOCKS = "Blocks of PT-v3m1 run as Pointcept had them before v1.5.2"
SETTING = "legacy_{}=yes says so."
UNKNOWN_BLOCKS = (
    "The config is of a Pointcept before v1.6.0. Weights from before v1.5.2 need legacy_blocks=yes, which nothing here "
    "tells; blocks run as they do since. If the labels are wrong, set it."
)


def apply(
    model: dict[str, Any], procedure: InferenceProcedure, checkpoint: Path, settings: ModelSettings
) -> tuple[dict[str, Any], InferenceProcedure]:
    """The config's ``model`` and the procedure, with old semantics if settings or files say so, and remarks on them."""
    wants_colors, wants_blocks = (
        value_for(setting, procedure.name) for setting in (settings.legacy_colors, settings.legacy_blocks)
    )
    steps = [*procedure.transform, procedure.voxelize, *procedure.post_transform]
    is_old = any(step["type"] == "GridSample" and step.get("keys") for step in steps)
    has_colors = any(step["type"] == "NormalizeColor" for step in steps)
    remarks = []
    if has_colors and wants_colors != "no" and (is_old or wants_colors == "yes"):
        why = SETTING.format("colors") if wants_colors == "yes" else "the config has GridSample(keys=…)."
        remarks.append(f"{OLD_COLORS}: {why}")
        procedure = replace(
            procedure, transform=_signed(procedure.transform), post_transform=_signed(procedure.post_transform)
        )
    if has_blocks(model) and wants_blocks != "no":
        is_known = wants_blocks == "auto" and is_old and sha256(checkpoint) in SHA256_OF_OLD_BLOCKS
        if is_known or wants_blocks == "yes":
            why = "the weights are known by their hash." if is_known else SETTING.format("blocks")
            remarks.append(f"{OLD_BLOCKS}: {why}")
            model = with_old_blocks(model)
        elif is_old:
            remarks.append(UNKNOWN_BLOCKS)
    return model, replace(procedure, remarks=[*procedure.remarks, *remarks])


def with_old_blocks(model: Mapping[str, Any]) -> dict[str, Any]:
    """The config's ``model``, which stands on a PT-v3m1, with blocks of old semantics in it."""
    if model.get("type") == BACKBONE:
        return {**model, "legacy_blocks": True}
    return {**model, "backbone": with_old_blocks(model["backbone"])}


def has_blocks(model: Any) -> bool:
    """Whether the config's ``model`` is or stands on a PT-v3m1."""
    return isinstance(model, Mapping) and (model.get("type") == BACKBONE or has_blocks(model.get("backbone")))


def _signed(steps: list[Transform]) -> list[Transform]:
    return [step | {"signed": True} if step["type"] == "NormalizeColor" else step for step in steps]
