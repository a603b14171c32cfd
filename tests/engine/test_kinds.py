"""Models that give more than classes, or classes of several datasets, through the service."""

import json

import numpy as np
import pytest
import torch

from app.engine.service import Service
from app.errors import BadRequest
from app.networks import registry
from app.options import Options
from app.settings import Settings
from tests.engine.engine_samples import body_of, content, npz_bytes, wait_until

INNER = {"in_channels": 6, "num_classes": 0, "base_channels": 4, "channels": (4, 4), "layers": (1, 1)}
INSTANCES = {
    "type": "PG-v1m1",
    "backbone": INNER | {"type": "SpUNet-v1m1"},
    "backbone_out_channels": 4,
    "semantic_num_classes": 3,
    "segment_ignore_index": (-1,),
    "cluster_propose_points": 2,
    "cluster_min_points": 2,
    "voxel_size": 0.1,
}
SEVERAL = {
    "type": "PPT-v1m2",
    "backbone": INNER | {"type": "SpUNet-v1m3", "context_channels": 4, "conditions": ("A", "S3DIS")},
    "backbone_out_channels": 4,
    "context_channels": 4,
    "conditions": ("A", "S3DIS"),
    "num_classes": (3, 13),
}
CONFIG = """
model = {model!r}
data = dict(num_classes=3, ignore_index=-1, names=['x', 'y', 'z'], test=dict(type='Made', transform=[
    dict(type='CenterShift', apply_z=True),
    dict(type='GridSample', grid_size=0.1, hash_type='fnv', mode='train', return_grid_coord=True),
    dict(type='NormalizeColor'),
    dict(type='Update', keys_dict=dict(condition='A')),
    dict(type='InstanceParser'),
    dict(type='Collect', keys=('coord', 'grid_coord', 'instance'), feat_keys=('color', 'normal'))]))
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    torch.manual_seed(0)
    for name, model in (("instances", INSTANCES), ("several", SEVERAL)):
        (root / name / "model").mkdir(parents=True)
        (root / name / "config.py").write_text(CONFIG.format(model=model))
        torch.save({"state_dict": registry.build(model).state_dict()}, root / name / "model" / "model_best.pth")
    service = Service(Settings(models=str(root), device="cpu", threads=1, readers=1))
    service.start()
    wait_until(lambda: all(engine.state == "ready" for engine in service.status().engines), 120)
    yield service
    service.stop(5.0)


def answer(service, **options):
    with body_of(npz_bytes(900)) as body, service.predict(body, Options(**options)) as given:
        return json.loads(content(given))


def test_instances_come_with_class_score_and_points(service):
    told = answer(service, model="instances", fields=("instances",))
    ids = np.array(told["instance_ids"])
    assert len(told["instances"]) > 0
    assert [info["count"] for info in told["instances"]] == np.bincount(ids[ids >= 0]).tolist()
    labels = np.array(told["labels"])
    assert all(set(labels[ids == info["id"]]) == {info["label"]} for info in told["instances"])
    assert "instances" not in answer(service, model="instances")


def test_a_condition_asks_for_the_classes_of_another_dataset(service):
    own, other = answer(service, model="several"), answer(service, model="several", condition="S3DIS")
    assert [known["name"] for known in own["classes"]] == ["x", "y", "z"]
    assert len(other["classes"]) == 13
    assert other["classes"][0]["name"] == "ceiling"
    assert answer(service, model="several", condition="A")["labels"] == own["labels"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "several", "fields": ("instances",)}, "model several finds no instances"),
        ({"model": "instances", "fields": ("features",), "mode": "exact"}, "mode=fast only"),
        ({"model": "several", "condition": "ScanNet"}, "knows no condition 'ScanNet'; known are A, S3DIS"),
        ({"model": "instances", "condition": "S3DIS"}, "trained for one dataset and takes none"),
    ],
)
def test_what_a_model_does_not_do_is_refused(service, options, message):
    with pytest.raises(BadRequest, match=message):
        answer(service, **options)
