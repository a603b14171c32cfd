"""Brings names of weights to those of the network, without what wrapped it when they were saved."""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from app.errors import BadModel, some_of

from .lora import plain_name
from .state_dicts import AVERAGED

# Of torch.compile, Fabric, fully sharded training and activation checkpoints, around any module
WRAPPERS = {"_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
LEADING = "module"  # of DistributedDataParallel, DataParallel and AveragedModel
COUNTER = "n_averaged"  # beside the weights of an AveragedModel
MAX_LEVELS = 3  # of names before that of the network's own
SHOWN = 4
# How the names of weights end that were saved in parts, and what joins these before saving
PARTS = {
    ".parametrizations.": "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')",
    ".weight_g": "torch.nn.utils.remove_weight_norm(layer)",
    ".weight_u": "torch.nn.utils.remove_spectral_norm(layer)",
    ".weight_mask": "torch.nn.utils.prune.remove(layer, 'weight')",
}

Weight = TypeVar("Weight")


def unwrapped(weights: Mapping[str, Weight]) -> dict[str, Weight]:
    """``weights`` without the names of wrappers. Raises BadModel if two then have one name."""
    names: dict[str, str] = {}
    for name in weights:
        other = names.setdefault(_unwrapped(name), name)
        if other != name:
            raise BadModel(
                f"{other:.200} and {name:.200} are one name once the prefixes of wrappers such as {LEADING}. are taken "
                "off; one of the two must go"
            )
    return {short: weights[name] for short, name in names.items()}


def matched(weights: Mapping[str, Weight], expected: Collection[str]) -> tuple[dict[str, Weight], list[str]]:
    """The ``weights`` of the network, under its ``expected`` names, and remarks on what was changed or left out.

    Names may have a prefix, such as Lightning's ``model.``, and weights of averages or of a loss may stand beside them.
    Weights that fit in no such way come back as they are. Raises BadModel if several sets of them fit.
    """
    weights, remarks = dict(weights), []
    if weights.pop(COUNTER, None) is not None:
        remarks.append(f"The weights are averages over training steps: {COUNTER} stands beside them.")
    groups = {prefix: group for prefix, group in _groups(weights).items() if _holds(group, expected)}
    averaged = [prefix for prefix in groups if AVERAGED.search(prefix.replace(".", "_"))]
    others = [prefix for prefix in groups if prefix not in averaged]
    if "" in others:
        return _without_averages(weights, expected, averaged, remarks)
    if not groups:
        return _with_prefix(weights, expected, remarks)
    if len(others or averaged) > 1:
        raise BadModel(
            f"the file holds several networks that fit config.py ({', '.join(f'{prefix}.' for prefix in groups)}); "
            "save a file with the weights of one"
        )
    prefix = (others or averaged)[0]
    what = "averages over training steps" if not others else "weights"
    remarks.append(f"The {what} served are those whose names begin with {prefix}.; it was taken off.")
    if rest := [name for name in weights if not name.startswith(f"{prefix}.")]:
        remarks.append(f"Left out beside them: {some_of(rest, SHOWN)}.")
    return groups[prefix], remarks


def parts_told(names: Iterable[str]) -> str:
    """What to do if some of ``names`` are parts of a weight, as the end of a message; else ''."""
    for name in names:
        for part, remedy in PARTS.items():
            if part in name:
                return f". {name:.100} is a part of a weight: join the parts before saving, by {remedy}"
    return ""


def _groups(weights: Mapping[str, Weight]) -> dict[str, dict[str, Weight]]:
    """The weights by each prefix of up to MAX_LEVELS names, without it; all of them by ''."""
    groups: dict[str, dict[str, Weight]] = {"": dict(weights)}
    for name, weight in weights.items():
        parts = name.split(".")
        for level in range(1, min(MAX_LEVELS, len(parts) - 1) + 1):
            group = groups.setdefault(".".join(parts[:level]), {})
            group[".".join(parts[level:])] = weight
    return groups


def _holds(names: Collection[str], expected: Collection[str]) -> bool:
    known = {plain_name(name) for name in names}
    return all(name in known for name in expected)


def _without_averages(
    weights: dict[str, Weight], expected: Collection[str], averaged: list[str], remarks: list[str]
) -> tuple[dict[str, Weight], list[str]]:
    """Without the ``averaged`` groups, and without what mmcv's hook keeps: ema_ and the name, with _ for its dots."""
    underlined = {"ema_" + name.replace(".", "_") for name in (*expected, *weights)}
    left_out = [
        name
        for name in weights
        if name in underlined or any(name.startswith(f"{prefix}.") for prefix in averaged if prefix)
    ]
    if left_out:
        remarks.append(
            f"Averages over training steps are in the file too and are left out: {some_of(left_out, SHOWN)}."
        )
    return {name: weight for name, weight in weights.items() if name not in set(left_out)}, remarks


def _with_prefix(
    weights: dict[str, Weight], expected: Collection[str], remarks: list[str]
) -> tuple[dict[str, Weight], list[str]]:
    """With the one name that all of ``expected`` begin with before each, if the weights are those of that module."""
    first = {name.partition(".")[0] for name in expected}
    longer = {f"{prefix}.{name}": weight for prefix in first for name, weight in weights.items()}
    if len(first) != 1 or not _holds(longer, expected):
        return weights, remarks
    return longer, [*remarks, f"The names lack {first.pop()}., which was put before them."]


def _unwrapped(name: str) -> str:
    parts = [part for part in name.split(".") if part not in WRAPPERS] or [name]
    while len(parts) > 1 and parts[0] == LEADING:
        del parts[0]
    return ".".join(parts)
