"""An experiment of instance segmentation as Pointcept writes it: no test_cfg, and transforms that read ground truth."""

import re

import numpy as np
import pytest
import torch

from app.clouds.cloud import Cloud
from app.errors import BadModel
from app.networks import registry
from app.options import Options
from app.pipeline.segmenter import Segmenter
from app.pipeline.voxelize import voxelize
from app.zoo.check import check
from app.zoo.experiment import load
from app.zoo.loading import load_model

MODEL = {
    "type": "PG-v1m1",
    "backbone": {
        "type": "SpUNet-v1m1",
        "in_channels": 6,
        "num_classes": 0,
        "base_channels": 4,
        "channels": (4, 4),
        "layers": (1, 1),
    },
    "backbone_out_channels": 4,
    "semantic_num_classes": 4,
    "semantic_ignore_index": -1,
    "segment_ignore_index": (-1, 0),
    "instance_ignore_index": -1,
    "cluster_thresh": 1.5,
    "cluster_closed_points": 300,
    "cluster_propose_points": 2,
    "cluster_min_points": 2,
    "voxel_size": 0.1,
}
CONFIG = """
segment_ignore_index = (-1, 0)
data = dict(
    num_classes=4,
    ignore_index=-1,
    names=['wall', 'floor', 'chair', 'table'],
    test=dict(
        type='ScanNetDataset',
        split='val',
        transform=[
            dict(type='CenterShift', apply_z=True),
            dict(type='Copy', keys_dict=dict(coord='origin_coord', instance='origin_instance')),
            dict(type='GridSample', grid_size=0.1, hash_type='fnv', mode='train', return_grid_coord=True),
            dict(type='CenterShift', apply_z=False),
            dict(type='NormalizeColor'),
            dict(type='InstanceParser', segment_ignore_index=(-1, 0), instance_ignore_index=-1),
            dict(type='ToTensor'),
            dict(
                type='Collect',
                keys=('coord', 'grid_coord', 'segment', 'instance', 'origin_coord', 'instance_centroid', 'bbox'),
                feat_keys=('color', 'normal'),
                offset_keys_dict=dict(offset='coord', origin_offset='origin_coord'))
        ],
        test_mode=False))
test = dict(type='InsSegTester', segment_ignore_index=(-1, 0), instance_ignore_index=-1)
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "config.py").write_text(f"model = {MODEL!r}\n{CONFIG}")
    (tmp_path / "model").mkdir()
    torch.manual_seed(0)
    torch.save({"state_dict": registry.build(MODEL).state_dict()}, tmp_path / "model" / "model_best.pth")
    return tmp_path


def room(num_points=2000):
    rng = np.random.RandomState(0)
    return Cloud(
        rng.rand(num_points, 3) * [4, 3, 0.3],
        "npy",
        rgb=rng.randint(0, 256, (num_points, 3)).astype(np.uint8),
        normals=np.tile(np.float32([0, 0, 1]), (num_points, 1)),
    )


def test_it_is_served_without_ground_truth(experiment):
    found = load(experiment)
    assert (found.task, found.card()["backbone"]) == ("instance segmentation", "SpUNet-v1m1")
    assert [info.name for info in found.classes] == ["wall", "floor", "chair", "table"]
    assert check(experiment).reason == ""
    loaded = load_model(experiment)
    out = Segmenter(loaded.network, loaded.experiment.procedure).segment(room(), Options(fields=("instances",)))
    assert len(out.meta.instances) > 0
    counts = np.bincount(out.fields["instances"][out.fields["instances"] >= 0])
    assert [info.num_points for info in out.meta.instances] == counts.tolist()
    for info in out.meta.instances:
        assert set(out.labels[out.fields["instances"] == info.id]) == {info.label}
        assert info.label != 0
        assert 0.25 < info.score <= 1


def test_the_exact_mode_is_the_instance_tester(experiment):
    """Points at the place of Copy look for picks where the later CenterShift moved them, as upstream has it."""
    loaded = load_model(experiment)
    segmenter = Segmenter(loaded.network, loaded.experiment.procedure)
    cloud = room()
    cloud.xyz[:30] = np.linspace([4.01, 3.0, 0.1], [4.09, 3.0, 0.1], 30)  # one voxel at the border
    out = segmenter.segment(cloud, Options(mode="exact", fields=("instances", "confidence")))

    def middle(xyz):
        return (xyz.min(0) + xyz.max(0)) / 2 * [1, 1, 0]

    coord = cloud.xyz.astype(np.float32)
    coord = coord - (middle(coord) + coord.min(0) * [0, 0, 1]).astype(np.float32)
    picks = voxelize(torch.from_numpy(coord), 0.1).random_points(np.random.RandomState(0)).numpy()
    places = coord[picks] - middle(coord[picks]).astype(np.float32)
    nearest = ((coord[:, None].astype(np.float64) - places) ** 2).sum(-1).argmin(1)
    assert (nearest != ((coord[:, None].astype(np.float64) - coord[picks]) ** 2).sum(-1).argmin(1)).any()
    assert len(np.unique(np.stack([nearest, out.labels]), axis=1).T) == len(np.unique(nearest))
    assert len(np.unique(np.stack([nearest, out.fields["instances"]]), axis=1).T) == len(np.unique(nearest))
    assert len(np.unique(out.fields["confidence"])) > len(np.unique(out.labels))


@pytest.mark.parametrize(
    ("pattern", "new", "message"),
    [
        ("'semantic_num_classes': 4", "'semantic_num_classes': 20", "model.semantic_num_classes 20"),
        ("'in_channels': 6", "'in_channels': 7", "model.backbone.in_channels is 7, but feat_keys color, normal are 6"),
    ],
)
def test_contradictions_are_refused_by_name(experiment, pattern, new, message):
    config = experiment / "config.py"
    config.write_text(config.read_text().replace(pattern, new))
    with pytest.raises(BadModel, match=re.escape(message)):
        load(experiment)


def test_the_inner_backbone_of_a_prompted_one_is_checked(experiment):
    inner = MODEL["backbone"] | {"type": "SpUNet-v1m3", "in_channels": 5, "conditions": ("ScanNet",)}
    prompted = {"type": "PPT-v1m1", "backbone": inner, "conditions": ("ScanNet",), "backbone_mode": True}
    (experiment / "config.py").write_text(f"model = {MODEL | {'backbone': prompted}!r}\n{CONFIG}")
    with pytest.raises(BadModel, match=r"model\.backbone\.backbone\.in_channels is 5"):
        load(experiment)
