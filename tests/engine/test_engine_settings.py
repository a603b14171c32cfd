"""Settings given to a ``Service`` reach its engine process and hold there, whatever the environment says."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from app.engine.service import Service
from app.options import Options
from app.settings import EngineSettings, Settings
from tests.engine.engine_samples import EXPERIMENT, body_of, content, npz_bytes

WORDS = ("debug", "yes", "bf16", "native", "posix.system")  # each setting of text takes one of them
NAME = EXPERIMENT.name


def other(name: str) -> Any:
    """A value of the setting ``name`` that is not its default."""
    default = EngineSettings.model_fields[name].default
    if not isinstance(default, str):
        return not default if isinstance(default, bool) else default + 1
    for word in WORDS:
        try:
            if getattr(Settings(**{name: word}), name) != default:
                return word
        except ValidationError:
            continue
    raise AssertionError(f"{name} takes none of {WORDS}: add a word that it takes")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Settings of an engine, none at its default; the weights of the model name what runs code."""
    root = tmp_path_factory.mktemp("models")
    path = shutil.copytree(EXPERIMENT, root / NAME) / "model" / "model_best.pth"
    torch.save(torch.load(path, weights_only=False) | {"then": os.system}, path)
    settings = {name: other(name) for name in EngineSettings.model_fields}
    return settings | {"models": str(root), "device": "cpu", "permitted_names": "posix.system", "tile_voxels": 30_000}


@pytest.fixture(scope="module")
def running(given, tmp_path_factory):
    """A service with these settings where the environment says otherwise, and what its engine logged."""
    log, stderr = tmp_path_factory.mktemp("log") / "stderr", os.dup(2)
    with pytest.MonkeyPatch.context() as patch, log.open("wb") as file:
        for name, field in EngineSettings.model_fields.items():
            patch.setenv(f"POINTSERVE_{name.upper()}", str(field.default))
        service = Service(Settings(**given, readers=1))
        os.dup2(file.fileno(), 2)
        try:
            service.start()
            service.wait_ready(120)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    yield service, log.read_text()
    service.stop()


@pytest.mark.parametrize("name", list(EngineSettings.model_fields))
def test_every_setting_of_an_engine_reaches_its_process(given, running, name):
    assert given[name] != EngineSettings.model_fields[name].default
    (line,) = [line for line in running[1].splitlines() if line.startswith("engine DEBUG settings: ")]
    assert f" {name}={given[name]!r} " in f"{line} "


def test_they_hold_there(given, running):
    service, _ = running
    (card,) = service.models()
    assert (card.served, card.precision, card.backend, card.tile_voxels) == (True, "bf16", "native", 30_000)
    assert "posix.system" in card.remarks[0]
    assert service.status().engines[0].threads == given["threads"]
    with body_of(npz_bytes(900)) as body, service.predict(body, Options(output="json")) as answer:
        assert any("legacy_colors=yes says so" in warning for warning in json.loads(content(answer))["warnings"])


def test_what_is_not_given_is_not_taken_from_the_environment_of_the_process(running):
    service, _ = running
    environment = Path(f"/proc/{service.status().engines[0].pid}/environ").read_text()
    assert "POINTSERVE_" not in environment
