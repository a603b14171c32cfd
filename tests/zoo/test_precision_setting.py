"""Which precision a model is given by the settings and its device."""

import pytest

from app.errors import BadModel
from app.networks.precision import PRECISIONS
from app.settings import ModelSettings
from app.zoo.precision import precision_for


@pytest.mark.parametrize(
    ("setting", "supports_half_precision", "device", "precision"),
    [
        ("auto", True, "cpu", "fp32"),
        ("auto", True, "cuda:1", "fp16"),
        ("auto", False, "cuda", "fp32"),
        ("bf16", True, "cpu", "bf16"),
        ("upstream", False, "cpu", "upstream"),
        ("upstream", True, "cuda", "upstream"),
        ("fp16,tree=fp32", True, "cuda", "fp32"),
        ("fp32,other=fp16", False, "cpu", "fp32"),
    ],
)
def test_precision(setting: str, supports_half_precision: bool, device: str, precision: str):
    settings = ModelSettings(precision=setting)
    assert precision_for("tree", supports_half_precision, device, settings) == precision


@pytest.mark.parametrize(
    ("setting", "supports_half_precision", "device", "told"),
    [
        ("bf16", False, "cuda", "tree=fp32"),
        ("fp16", True, "cpu", "needs a GPU"),
        ("tree=bf16", False, "cpu", "float32"),
    ],
)
def test_what_cannot_be_had_is_refused(setting: str, supports_half_precision: bool, device: str, told: str):
    with pytest.raises(BadModel, match=told):
        precision_for("tree", supports_half_precision, device, ModelSettings(precision=setting))


def test_every_precision_can_be_asked_for():
    for name in PRECISIONS:
        assert precision_for("tree", True, "cuda", ModelSettings(precision=name)) == name
