"""Merges low-rank adapters (LoRA) into the weights that they adapt."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from app.errors import BadModel

RANK, ALPHA = 8, 16  # where a config states none
WRAPPER = "base_model.model."  # around the adapted module
BASE = "base_layer."  # around the layer of an adapter
DOWN, UP = "lora_A.default.weight", "lora_B.default.weight"


def merge(model: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a ``DefaultLORASegmentorV2`` as its plain network has them; those of other types as they are.

    An adapter of A (r, in) and B (out, r) adds lora_alpha / r · B A to its layer's weight (out, in). Raises BadModel
    if one of the three is missing or their shapes or ``lora_r`` contradict.
    """
    if model.get("type") != "DefaultLORASegmentorV2" or not model.get("use_lora", False):
        return dict(weights)
    rank, alpha = model.get("lora_r", RANK), model.get("lora_alpha", ALPHA)
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise BadModel(
            f"model.lora_r is {rank!r} and lora_alpha {alpha!r}; accepted are an integer from 1 and a number"
        )
    plain = {plain_name(name): tensor for name, tensor in weights.items()}
    if len(plain) < len(weights):
        raise BadModel(f"a layer is given both with {BASE} in its name and without; one of the two must go")
    layers = {name.removesuffix(end) for name in plain for end in (DOWN, UP) if name.endswith(end)}
    if not layers:
        raise BadModel("model.use_lora is True, but no weight is named lora_A or lora_B; accepted is False")
    for layer in sorted(layers):
        parts = {name: plain.pop(layer + name, None) for name in (DOWN, UP, "weight")}
        absent = [name for name, part in parts.items() if part is None]
        if absent:
            raise BadModel(f"{layer}{absent[0]} is missing beside the other weights of the adapter")
        plain[f"{layer}weight"] = _merged(layer, rank, alpha, *parts.values())  # type: ignore[arg-type]
    return plain


def plain_name(name: str) -> str:
    """The name without what the adapters put around modules."""
    return name.replace(WRAPPER, "", 1).replace(BASE, "", 1)


def _merged(layer: str, rank: int, alpha: float, down: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    if down.shape != (rank, *weight.shape[1:]) or up.shape != (*weight.shape[:1], rank) or weight.dim() != 2:
        raise BadModel(
            f"{layer}: lora_A {tuple(down.shape)} and lora_B {tuple(up.shape)} do not fit lora_r {rank} and a weight "
            f"{tuple(weight.shape)}; accepted are (lora_r, in) and (out, lora_r)"
        )
    return (weight.double() + alpha / rank * (up.double() @ down.double())).to(weight.dtype)
