"""How often plans and forwards wait for a CUDA device, as torch tells it, and that of a batch's values they say what is
wrong."""

import warnings

import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.networks.fold import fold
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch

pytestmark = pytest.mark.gpu
SERIALIZED = {
    "order": ("z", "z-trans", "hilbert", "hilbert-trans"),
    "enc_depths": (1, 1, 1, 1, 1),
    "dec_depths": (1, 1, 1, 1),
}
# model and the most waits of its plan
NETWORKS = {
    "PT-v3m1": ({"type": "PT-v3m1", "in_channels": 6, **SERIALIZED}, 2),
    "PT-v3m2": ({"type": "PT-v3m2", "in_channels": 6, **SERIALIZED}, 2),
    "PT-v3m3": (
        {"type": "PT-v3m3", "in_channels": 6, "enc_num_head": (1, 2, 4, 8, 16), "rope_base": 0, **SERIALIZED},
        2,
    ),
    "LitePT-v1": ({"type": "LitePT-v1", "in_channels": 6}, 2),
    "SpUNet-v1m1": ({"type": "SpUNet-v1m1", "in_channels": 6, "num_classes": 13}, 1),
}


def voxels(sizes: tuple[int, ...]) -> torch.Tensor:
    """Clouds of hilly ground, in no order."""
    generator, clouds = torch.Generator().manual_seed(sum(sizes)), []
    for number, size in enumerate(sizes):
        cells = torch.randint(0, int(size**0.5) + 1, (size, 3), generator=generator)
        cells[:, 2] %= 12
        cells = cells.unique(dim=0)
        cells = cells[torch.randperm(len(cells), generator=generator)]
        clouds.append(torch.nn.functional.pad(cells, (1, 0), value=number))
    return torch.cat(clouds)


def waits(work):
    """What ``work`` gives, and the places where it waited."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return result, [f"{each.filename}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)]


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_plan_waits_no_more_than_it_must_and_a_forward_never(name):
    model, most = NETWORKS[name]
    network = fold(build({"type": "Encoder", "backbone": model}).cuda().eval())
    for sizes in ((20_000,), (5_000, 900, 60)):
        batch = VoxelBatch(voxels(sizes).cuda())
        features = torch.randn(len(batch.voxels), 6, device="cuda")
        plan, places = waits(lambda batch=batch: network.plan(batch))
        assert len(places) <= most, places
        _, places = waits(lambda plan=plan, features=features: network.logits_and_features(features, plan))
        assert places == []


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_wrong_voxels_are_told_and_the_device_goes_on(name):
    network = build({"type": "Encoder", "backbone": NETWORKS[name][0]}).cuda().eval()
    right = voxels((500,)).cuda()
    for wrong in ([0, -1, 2, 3], [600, 1, 2, 3]):
        with pytest.raises(ValueError, match="must"):
            network.plan(VoxelBatch(torch.cat([right, right.new_tensor([wrong])])))
    torch.cuda.synchronize()
    network.plan(VoxelBatch(right))
