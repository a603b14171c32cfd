"""A model of every type that is served natively."""

import json

from tests.networks.models import oacnns, prompts, ptv1, ptv2, ptv3, sonata
from tests.networks.network_samples import SPUNET
from tests.networks.point_samples import GOLDEN


def golden_models() -> dict[str, dict]:
    """By type the model of a golden case that has it, as the segmentor or below it."""
    found = {}
    for path in sorted(GOLDEN.glob("*/config.json")):
        model = part = json.loads(path.read_text()).get("model")
        while part:
            found.setdefault(part["type"], model)
            part = part.get("backbone")
    return found


WITH_HEAD = {"num_classes": 5, "backbone_out_channels": 8, "backbone": SPUNET}
BACKBONES = {
    "LitePT-v1": sonata.model(sonata.LITE),
    "OACNNs": oacnns.model(),
    "PT-v2m1": ptv2.model(type="PT-v2m1"),
    "PT-v2m2": ptv2.model(),
    "PT-v2m3": ptv2.model(**ptv2.PROMPTED),
    "PT-v3m1": ptv3.model(),
    "PT-v3m2": sonata.model(sonata.SONATA),
    "PT-v3m3": sonata.model(sonata.UTONIA),
    "PointTransformer-Seg26": ptv1.model(26),
    "PointTransformer-Seg38": ptv1.model(38),
    "PointTransformer-Seg50": ptv1.model(50),
    "SpUNet-v1m1": {"type": "DefaultSegmentor", "backbone": SPUNET | {"num_classes": 5}},
    "SpUNet-v1m3": prompts.DECOUPLED,
}
SEGMENTORS = {
    "CAC-v1m1": {"type": "CAC-v1m1", **WITH_HEAD},
    "DefaultLORASegmentorV2": {"type": "DefaultLORASegmentorV2", **WITH_HEAD},
    "DefaultSegmentor": BACKBONES["SpUNet-v1m1"],
    "DefaultSegmentorV2": {"type": "DefaultSegmentorV2", **WITH_HEAD},
    "Encoder": {"type": "Encoder", "backbone": SPUNET},
    "PG-v1m1": {"type": "PG-v1m1", "semantic_num_classes": 5, "backbone_out_channels": 8, "backbone": SPUNET},
    "PG-v1m2": {"type": "PG-v1m2", "semantic_num_classes": 5, "backbone_out_channels": 8, "backbone": SPUNET},
    "PPT-v1m1": prompts.LANGUAGE,
    "PPT-v1m2": prompts.DECOUPLED,
    "PPT-v1m3": prompts.JOINT,
}
MODELS = golden_models() | BACKBONES | SEGMENTORS


def in_channels(model: dict) -> int:
    return in_channels(model["backbone"]) if "backbone" in model else model["in_channels"]
