"""How often the plan of a network reads the device, and that a forward does not; counted on the processor."""

import pytest
import torch

from app.networks.fold import fold
from app.networks.registry import build
from tests.networks.models.every import BACKBONES, in_channels
from tests.networks.point_samples import join, make_cloud
from tests.networks.read_backs import ReadBacks

# of every type how often; SpUNet, which has two halvings here, reads a GPU once for all of them
READ_BACKS = {
    **dict.fromkeys(["LitePT-v1", "PT-v3m1", "PT-v3m2", "PT-v3m3", "SpUNet-v1m1", "SpUNet-v1m3"], 2),
    **dict.fromkeys(["PT-v2m1", "PT-v2m2", "PT-v2m3"], 5),
    **dict.fromkeys(["PointTransformer-Seg26", "PointTransformer-Seg38", "PointTransformer-Seg50"], 5),
    "OACNNs": 13,
}


def test_no_network_is_left_out():
    assert READ_BACKS.keys() == BACKBONES.keys()


@pytest.mark.parametrize("kind", READ_BACKS)
@torch.inference_mode()
def test_a_plan_reads_no_more_than_it_must_and_a_forward_nothing(kind):
    network = fold(build(BACKBONES[kind]).eval())
    batch = join([make_cloud(1, 600), make_cloud(2, 450, side=40)], condition="ScanNet")
    features = torch.randn(len(batch.voxels), in_channels(BACKBONES[kind]))
    with ReadBacks() as reading:
        plan = network.plan(batch)
    assert reading.count <= READ_BACKS[kind], reading.places
    with ReadBacks() as reading:
        network(features, plan)
    assert reading.count == 0, reading.places


def test_every_way_to_read_is_counted():
    values = torch.arange(3)
    ways = [
        lambda: values.tolist(),
        lambda: int(values[1]),
        lambda: float(values[1]),
        lambda: values[1].item(),
        lambda: bool((values > 1).any()),
        lambda: values[values > 1],
        lambda: values.nonzero(),
        lambda: values.unique(),
        lambda: values.bincount(),
        lambda: values.repeat_interleave(values),
        lambda: values.new_tensor([1, 2]),
    ]
    for way in ways:
        with ReadBacks() as reading:
            way()
        assert reading.count == 1, reading.places
    with ReadBacks() as reading:
        values[values + 0].repeat_interleave(values, output_size=3).sum()
    assert reading.count == 0
