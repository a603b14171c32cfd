"""Semantics of old Pointcept versions: when a model gets them, and that the answer says so."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.pipeline.segmenter import Segmenter
from app.pipeline.transforms import apply as transformed
from app.settings import ModelSettings, Settings, value_for
from app.zoo import legacy
from app.zoo.experiment import load
from app.zoo.loading import load_model

MODEL = {"type": "DefaultSegmentorV2", "backbone": {"type": "PT-v3m1", "in_channels": 6}}
KEYS = ("coord", "color", "normal")


@pytest.fixture
def old_procedure(golden):
    procedure = load(golden).procedure
    return replace(procedure, voxelize=procedure.voxelize | {"keys": KEYS})


def applied(procedure, tmp_path, model=MODEL, **settings):
    (tmp_path / "weights.pth").write_bytes(b"weights")
    model, procedure = legacy.apply(model, procedure, tmp_path / "weights.pth", ModelSettings(**settings))
    (step,) = [step for step in procedure.transform if step["type"] == "NormalizeColor"]
    return step.get("signed", False), model.get("backbone", {}).get("legacy_blocks", False), procedure.remarks


def test_a_config_of_today_is_run_as_today(golden, tmp_path):
    assert applied(load(golden).procedure, tmp_path) == (False, False, [])


def test_old_grid_samples_mean_old_colors_and_leave_the_blocks_open(old_procedure, tmp_path):
    colors, blocks, remarks = applied(old_procedure, tmp_path)
    assert (colors, blocks) == (True, False)
    assert len(remarks) == 2
    assert "GridSample(keys=" in remarks[0]
    assert "legacy_blocks=yes" in remarks[1]


def test_known_weights_mean_old_blocks(old_procedure, tmp_path, monkeypatch):
    monkeypatch.setattr(legacy, "SHA256_OF_OLD_BLOCKS", {hashlib.sha256(b"weights").hexdigest()})
    colors, blocks, remarks = applied(old_procedure, tmp_path)
    assert (colors, blocks) == (True, True)
    assert "hash" in remarks[1]
    assert applied(old_procedure, tmp_path, legacy_blocks="no")[1] is False


def test_the_users_word_counts(golden, old_procedure, tmp_path):
    assert applied(old_procedure, tmp_path, legacy_colors="no", legacy_blocks="no") == (False, False, [])
    colors, blocks, remarks = applied(load(golden).procedure, tmp_path, legacy_colors="yes", legacy_blocks="yes")
    assert (colors, blocks) == (True, True)
    assert ["legacy_colors=yes" in remarks[0], "legacy_blocks=yes" in remarks[1]] == [True, True]


def test_blocks_are_those_of_a_point_transformer_wherever_it_stands(golden, tmp_path):
    procedure = load(golden).procedure
    assert applied(
        procedure, tmp_path, {"type": "DefaultSegmentor", "backbone": {"type": "SpUNet-v1m1"}}, legacy_blocks="yes"
    )[1:] == (False, [])
    prompts = {"type": "PPT-v1m2", "backbone": MODEL["backbone"]}
    model, _ = legacy.apply({"type": "X", "backbone": prompts}, procedure, tmp_path, ModelSettings(legacy_blocks="yes"))
    assert model["backbone"]["backbone"]["legacy_blocks"] is True
    assert "legacy_blocks" not in MODEL["backbone"]


def test_signed_colors_reach_from_minus_one_to_one():
    sample = {"color": torch.tensor([[0.0, 127.5, 255.0]])}
    signed = transformed([{"type": "NormalizeColor", "signed": True}], sample)["color"]
    np.testing.assert_array_equal(signed, [[-1, 0, 1]])


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [("auto", "auto"), ("yes", "yes"), ("old=yes", "auto"), ("no,mine=yes", "yes"), ("mine=no, yes", "no")],
)
def test_a_setting_is_for_all_models_or_for_one(setting, chosen):
    assert value_for(setting, "mine") == chosen


@pytest.mark.parametrize("setting", ["", "maybe", "yes,mine", "mine=maybe"])
def test_other_words_are_refused(setting):
    with pytest.raises(ValueError, match="legacy_colors"):
        Settings(legacy_colors=setting)


def test_every_answer_says_so(golden):
    model = load_model(golden, ModelSettings(legacy_colors="yes"))
    segmenter = Segmenter(model.network, model.experiment.procedure)
    assert segmenter.warnings == model.experiment.procedure.remarks
    assert "from -1 to 1" in segmenter.warnings[0]
