"""Every type that is served natively: the same bytes for a cloud twice, alone or beside strangers, on any threads."""

import json

import pytest
import test_oacnns
import test_prompts
import test_ptv1
import test_ptv2
import test_ptv3
import test_sonata
import torch

from app.networks.fold import fold
from app.networks.precision import PRECISIONS, in_precision
from app.networks.registry import NETWORKS
from app.pipeline.batch import MIN_SHARED_VOXELS
from tests.networks.network_samples import SPUNET, make_network
from tests.networks.point_samples import GOLDEN, join, make_cloud


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
    "LitePT-v1": test_sonata.model(test_sonata.LITE),
    "OACNNs": test_oacnns.model(),
    "PT-v2m1": test_ptv2.model(type="PT-v2m1"),
    "PT-v2m2": test_ptv2.model(),
    "PT-v2m3": test_ptv2.model(**test_ptv2.PROMPTED),
    "PT-v3m1": test_ptv3.model(),
    "PT-v3m2": test_sonata.model(test_sonata.SONATA),
    "PT-v3m3": test_sonata.model(test_sonata.UTONIA),
    "PointTransformer-Seg26": test_ptv1.model(26),
    "PointTransformer-Seg38": test_ptv1.model(38),
    "PointTransformer-Seg50": test_ptv1.model(50),
    "SpUNet-v1m1": {"type": "DefaultSegmentor", "backbone": SPUNET | {"num_classes": 5}},
    "SpUNet-v1m3": test_prompts.DECOUPLED,
}
SEGMENTORS = {
    "CAC-v1m1": {"type": "CAC-v1m1", **WITH_HEAD},
    "DefaultLORASegmentorV2": {"type": "DefaultLORASegmentorV2", **WITH_HEAD},
    "DefaultSegmentor": BACKBONES["SpUNet-v1m1"],
    "DefaultSegmentorV2": {"type": "DefaultSegmentorV2", **WITH_HEAD},
    "Encoder": {"type": "Encoder", "backbone": SPUNET},
    "PG-v1m1": {"type": "PG-v1m1", "semantic_num_classes": 5, "backbone_out_channels": 8, "backbone": SPUNET},
    "PG-v1m2": {"type": "PG-v1m2", "semantic_num_classes": 5, "backbone_out_channels": 8, "backbone": SPUNET},
    "PPT-v1m1": test_prompts.LANGUAGE,
    "PPT-v1m2": test_prompts.DECOUPLED,
    "PPT-v1m3": test_prompts.JOINT,
}
MODELS = golden_models() | BACKBONES | SEGMENTORS
HALVES = ["LitePT-v1", "PT-v3m1", "PT-v3m2", "PT-v3m3", "SpUNet-v1m1"]
HALVES += ["DefaultLORASegmentorV2", "DefaultSegmentor", "DefaultSegmentorV2", "Encoder"]


def test_no_type_is_left_out():
    assert set(MODELS) == set(NETWORKS)


def in_channels(model: dict) -> int:
    return in_channels(model["backbone"]) if "backbone" in model else model["in_channels"]


@pytest.mark.parametrize(
    ("kind", "precision"), [*((kind, "fp32") for kind in MODELS), *((kind, "bf16") for kind in HALVES)]
)
@torch.inference_mode()
def test_a_cloud_has_the_same_answer_to_the_bit_alone_and_beside_strangers(kind, precision):
    plain = make_network(MODELS[kind]).eval()
    assert plain.supports_half_precision == (kind in HALVES)
    network, dtype = in_precision(fold(plain), PRECISIONS[precision]), PRECISIONS[precision].dtype
    clouds = [make_cloud(1, 600), make_cloud(2, 450, side=40), make_cloud(3, 320, side=11)]
    assert min(len(voxels) for voxels, _ in clouds) >= MIN_SHARED_VOXELS
    generator = torch.Generator().manual_seed(0)
    width = in_channels(MODELS[kind])
    features = [torch.randn(len(voxels), width, generator=generator).to(dtype) for voxels, _ in clouds]

    def answers(order: list[int]) -> dict[int, torch.Tensor]:
        batch = join([clouds[at] for at in order], condition="ScanNet")
        x = torch.cat([features[at] for at in order])
        out = network.describe(x, network.plan(batch))[1] if kind == "Encoder" else network(x, network.plan(batch))
        return dict(zip(order, out.split([len(features[at]) for at in order]), strict=True))

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = [answers([at])[at] for at in range(3)]
        assert all(answer.isfinite().all() and answer.std() > 0 for answer in alone)
        for num_threads, order in ((1, [0]), (1, [0, 1, 2]), (2, [2, 1, 0]), (2, [1])):
            torch.set_num_threads(num_threads)
            for at, answer in answers(order).items():
                assert torch.equal(answer, alone[at]), (num_threads, order, at)
    finally:
        torch.set_num_threads(threads)
