"""Types of networks by the names that configs give them, known without torch."""

from collections.abc import Mapping
from typing import Any

UPSTREAM = "Upstream"  # of a model that wraps another's config
# the keys of the tables in registry.py
BACKBONES = frozenset(
    {
        "LitePT-v1",
        "OACNNs",
        "PT-v2m1",
        "PT-v2m2",
        "PT-v2m3",
        "PT-v3m1",
        "PT-v3m2",
        "PT-v3m3",
        "PointTransformer-Seg26",
        "PointTransformer-Seg38",
        "PointTransformer-Seg50",
        "SpUNet-v1m1",
        "SpUNet-v1m3",
    }
)
SEGMENTORS = frozenset(
    {
        "CAC-v1m1",
        "DefaultLORASegmentorV2",
        "DefaultSegmentor",
        "DefaultSegmentorV2",
        "Encoder",
        "PG-v1m1",
        "PG-v1m2",
        "PPT-v1m1",
        "PPT-v1m2",
        "PPT-v1m3",
    }
)


def is_native(model: Any) -> bool:
    """Whether a config's ``model`` and all that it stands on are of types that are served natively."""
    if not isinstance(model, Mapping) or model.get("type") not in SEGMENTORS | BACKBONES:
        return False
    return "backbone" not in model or is_native(model["backbone"])
