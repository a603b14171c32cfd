"""Every type that is served natively: the same bytes for a cloud twice, alone or beside strangers, on any threads."""

import pytest
import torch

from app.networks.fold import fold
from app.networks.precision import PRECISIONS, in_precision
from app.networks.registry import NETWORKS
from app.pipeline.batch import MIN_SHARED_VOXELS
from tests.networks.models.every import MODELS, in_channels
from tests.networks.network_samples import make_network
from tests.networks.point_samples import join, make_cloud

HALVES = ["LitePT-v1", "PT-v3m1", "PT-v3m2", "PT-v3m3", "SpUNet-v1m1"]
HALVES += ["DefaultLORASegmentorV2", "DefaultSegmentor", "DefaultSegmentorV2", "Encoder"]


def test_no_type_is_left_out():
    assert set(MODELS) == set(NETWORKS)


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
        plan = network.plan(batch)
        out = network.logits_and_features(x, plan)[1] if kind == "Encoder" else network(x, plan)
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
