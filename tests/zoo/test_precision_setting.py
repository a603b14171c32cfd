"""Which precision a model is given by the settings and its device."""

import pytest

from app.errors import BadModel
from app.settings import settings
from app.zoo.precision import precision_for


@pytest.fixture(autouse=True)
def _fresh_settings():
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize(
    ("setting", "supports_half_precision", "device", "precision"),
    [
        ("auto", True, "cpu", "fp32"),
        ("auto", True, "cuda:1", "fp16"),
        ("auto", False, "cuda", "fp32"),
        ("bf16", True, "cpu", "bf16"),
        ("fp16,tree=fp32", True, "cuda", "fp32"),
        ("fp32,other=fp16", False, "cpu", "fp32"),
    ],
)
def test_precision(monkeypatch, setting: str, supports_half_precision: bool, device: str, precision: str):
    monkeypatch.setenv("POINTSERVE_PRECISION", setting)
    assert precision_for("tree", supports_half_precision, device) == precision


@pytest.mark.parametrize(
    ("setting", "supports_half_precision", "device", "told"),
    [
        ("bf16", False, "cuda", "tree=fp32"),
        ("fp16", True, "cpu", "needs a GPU"),
        ("tree=bf16", False, "cpu", "float32"),
    ],
)
def test_what_cannot_be_had_is_refused(
    monkeypatch, setting: str, supports_half_precision: bool, device: str, told: str
):
    monkeypatch.setenv("POINTSERVE_PRECISION", setting)
    with pytest.raises(BadModel, match=told):
        precision_for("tree", supports_half_precision, device)
