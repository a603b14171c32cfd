"""Networks in other precisions than float32."""

import pytest
import torch

from app.networks.fold import fold
from app.networks.precision import PRECISIONS, in_precision
from app.networks.ptv3.attention import SerializedAttention
from app.networks.voxel_batch import VoxelBatch
from tests.networks.network_samples import SPUNET, make_network, make_voxels

PTV3 = {
    "type": "PT-v3m3",
    "in_channels": 4,
    "order": ("z", "hilbert"),
    "stride": (2,),
    "enc_depths": (1, 2),
    "enc_channels": (12, 24),
    "enc_num_head": (2, 2),
    "enc_patch_size": (32, 32),
    "dec_depths": (1,),
    "dec_channels": (12,),
    "dec_num_head": (2,),
    "dec_patch_size": (32,),
    "layer_scale": 0.5,
    "enable_flash": False,
    "enable_rpe": True,
}
BACKBONES = {
    "SpUNet": (SPUNET, 8),
    "PT-v3m1": ({key: value for key, value in PTV3.items() if key != "layer_scale"} | {"type": "PT-v3m1"}, 12),
    "PT-v3m3": (PTV3, 12),
}


@pytest.fixture(params=BACKBONES)
def network(request):
    backbone, width = BACKBONES[request.param]
    model = {"type": "DefaultSegmentorV2", "num_classes": 5, "backbone_out_channels": width, "backbone": backbone}
    return make_network(model).eval()


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.06), ("fp16", 0.01)])
@torch.inference_mode()
def test_half_precision_is_near_float32(network, precision: str, tolerance: float):
    exact = fold(network)
    half = in_precision(exact, PRECISIONS[precision])
    voxels = make_voxels(0)
    features = torch.randn(len(voxels), 4, generator=torch.Generator().manual_seed(0))
    plan = exact.plan(VoxelBatch(voxels, voxels[:, 1:].float()))
    expected = exact(features, plan)
    out = half(features.to(PRECISIONS[precision].dtype), plan)
    assert out.dtype == PRECISIONS[precision].dtype
    assert 0 < (out.float() - expected).norm() < tolerance * expected.norm()
    assert torch.equal(exact(features, plan), expected)  # the network that was given stays in float32


@torch.inference_mode()
def test_upstream_rounds_attention_alone():
    flash = {"type": "PT-v3m2", "enable_flash": True, "enable_rpe": False}
    model = {"type": "DefaultSegmentorV2", "num_classes": 5, "backbone_out_channels": 12, "backbone": PTV3 | flash}
    exact = fold(make_network(model).eval())
    rounded = in_precision(exact, PRECISIONS["upstream"])
    voxels = make_voxels(0)
    features = torch.randn(len(voxels), 4, generator=torch.Generator().manual_seed(0))
    plan = exact.plan(VoxelBatch(voxels))
    expected, out = exact(features, plan), rounded(features, plan)
    assert out.dtype == torch.float32
    assert 0 < (out - expected).norm() < 0.01 * expected.norm()
    assert torch.equal(exact(features, plan), expected)
    for module in exact.modules():
        if isinstance(module, SerializedAttention):
            module.cast = torch.bfloat16
    assert torch.equal(exact(features, plan), out)


@torch.inference_mode()
def test_upstream_rounds_nothing_without_flash_attention(network):
    exact = fold(network)
    voxels = make_voxels(0)
    features = torch.randn(len(voxels), 4, generator=torch.Generator().manual_seed(0))
    plan = exact.plan(VoxelBatch(voxels, voxels[:, 1:].float()))
    assert torch.equal(in_precision(exact, PRECISIONS["upstream"])(features, plan), exact(features, plan))
