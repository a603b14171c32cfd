"""Which datasets a model may answer for, and with which classes."""

import pytest

from app.clouds.cloud import ClassInfo
from app.errors import BadModel
from app.zoo.conditions import classes_by_condition
from app.zoo.experiment import load
from tests.zoo.experiment_samples import with_model

OWN = [ClassInfo(i, f"own {i}", (i, i, i)) for i in range(3)]
DECOUPLED = {"type": "PPT-v1m2", "conditions": ("A", "nuScenes", "S3DIS"), "num_classes": (3, 16, 13)}
LANGUAGE = {
    "type": "PPT-v1m1",
    "conditions": ("A", "B"),
    "class_name": ("wall", "floor", "bed", "chair"),
    "valid_index": ((0, 1, 2), (3, 1)),
}
JOINT = {"type": "PPT-v1m3", "conditions": ("A", "B"), "class_names": (("x", "y", "z"), ("wall",))}


def names(model, condition="A"):
    found = classes_by_condition(model, condition, OWN)
    return {name: [info.name for info in classes] for name, classes in found.items()}


def test_a_head_for_each_dataset_has_the_classes_of_each():
    assert names(LANGUAGE) == {"A": ["own 0", "own 1", "own 2"], "B": ["chair", "floor"]}
    assert names(JOINT) == {"A": ["own 0", "own 1", "own 2"], "B": ["wall"]}
    of_head = names(DECOUPLED)
    assert of_head["S3DIS"][:3] == ["ceiling", "floor", "wall"]
    assert [len(of_head[name]) for name in DECOUPLED["conditions"]] == [3, 16, 13]


@pytest.mark.parametrize(
    "model",
    [
        {"type": "DefaultSegmentor", "backbone": {"type": "SpUNet-v1m3", "conditions": ("A", "B")}},
        {"type": "DefaultSegmentorV2", "backbone": {"type": "PT-v3m1", "pdnorm_bn": True, "pdnorm_conditions": ("A",)}},
        {"type": "PG-v1m1", "backbone": {"type": "PPT-v1m1", "conditions": ("A", "B"), "backbone": {}}},
    ],
)
def test_with_one_head_only_the_dataset_of_the_config_is_served(model):
    assert names(model) == {"A": ["own 0", "own 1", "own 2"]}


@pytest.mark.parametrize(
    "model",
    [
        {"type": "DefaultSegmentor", "backbone": {"type": "SpUNet-v1m1"}},
        {"type": "DefaultSegmentorV2", "backbone": {"type": "PT-v3m1", "pdnorm_conditions": ("A", "B")}},
        {"type": "DefaultSegmentor"},
    ],
)
def test_a_network_of_one_dataset_has_no_conditions(model):
    assert names(model, None) == names(model, "anything") == {}


def test_the_only_dataset_needs_no_name():
    assert list(names({"type": "PPT-v1m2", "conditions": ("A",), "num_classes": (3,)}, None)) == ["A"]


@pytest.mark.parametrize(
    ("model", "condition", "message"),
    [
        (LANGUAGE, None, "names no condition, the model knows A, B; accepted is dict"),
        (LANGUAGE, "C", "names the condition 'C', the model knows A, B"),
        (LANGUAGE, "B", "data.num_classes is 3, but the model has 2 classes for B"),
        (DECOUPLED, "S3DIS", "data.num_classes is 3, but the model has 13 classes for S3DIS"),
    ],
)
def test_contradictions_are_refused(model, condition, message):
    with pytest.raises(BadModel, match=message):
        classes_by_condition(model, condition, OWN)


def test_an_experiment_states_its_own_dataset(folder):
    model = {
        "type": "PPT-v1m2",
        "backbone": {
            "type": "SpUNet-v1m3",
            "in_channels": 6,
            "base_channels": 4,
            "channels": (4, 4),
            "layers": (1, 1),
            "norm_adaptive": False,
        },
        "backbone_out_channels": 4,
        "conditions": ("S3DIS", "ScanNet"),
        "num_classes": (13, 20),
    }
    with_model(folder, model, condition="ScanNet")
    experiment = load(folder)
    assert experiment.condition == experiment.procedure.condition == "ScanNet"
    assert experiment.procedure.conditions["ScanNet"] == experiment.classes
    assert len(experiment.procedure.conditions["S3DIS"]) == 13
