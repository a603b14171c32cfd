"""Widths of a network that a config leaves to the weights."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def complete(model: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """``model`` with the width of the text embeddings of a PPT, which is that of its head."""
    head = weights.get("proj_head.weight")
    if model.get("type") not in ("PPT-v1m1", "PPT-v1m3") or head is None or head.dim() != 2:
        return dict(model)
    return {**model, "embedding_channels": head.shape[0]}
