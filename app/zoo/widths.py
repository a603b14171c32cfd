"""Widths of a network that a config leaves to the weights."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def complete(model: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """``model`` with what its weights alone tell.

    That is the width of the text embeddings of a PPT, which is that of its head, and the widths of the levels of a
    PointTransformer-Seg.
    """
    model = dict(model)
    if model.get("type") in ("PPT-v1m1", "PPT-v1m3"):
        head = _widths(weights, "proj_head.weight")
        return {**model, "embedding_channels": head[0]} if head else model
    backbone = model.get("backbone")
    if isinstance(backbone, Mapping) and str(backbone.get("type")).startswith("PointTransformer-Seg"):
        planes = _widths(weights, *(f"backbone.enc{level}.0.linear.weight" for level in range(1, 6)))
        return {**model, "backbone": {"planes": planes, **backbone}} if planes else model
    return model


def _widths(weights: Mapping[str, Tensor], *names: str) -> list[int]:
    """The output widths of the linear layers of these names; none where one is missing."""
    found = [weights[name].shape[0] for name in names if name in weights and weights[name].dim() == 2]
    return found if len(found) == len(names) else []
