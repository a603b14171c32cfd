"""The model of a survey, as it is known before its network is loaded."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.engine.model_card import ModelCard
from app.options import JOINT
from app.settings import ModelSettings
from app.survey.workers import Model
from app.zoo import class_codes, digest, experiment

ANSWERED_BY = ("legacy_colors", "legacy_blocks", "precision", "backend", "tile_voxels")  # settings that change answers


def model_of(card: ModelCard, settings: ModelSettings) -> Model:
    """The model of ``card``, with a digest of its weights and config, and of the settings that change its answers.

    Raises BadModel if its folder is not what it was.
    """
    found = [experiment.load(Path(path), settings) for path in experiment.split(card.path)]
    return _together([_model(each, card.columns, card.halo_m or None) for each in found])


def model_in(folders: Sequence[Path], settings: ModelSettings) -> Model:
    """The model in ``folders``, several as one, without the columns that it reads, which only its network tells."""
    from app.pipeline.reach import halo_m  # torch, which no service with this module needs

    found = [experiment.load(folder, settings) for folder in folders]
    return _together([_model(each, [], max(halo_m(every.procedure) for every in found)) for each in found])


def _together(models: list[Model]) -> Model:
    """Several models as one, with the classes of the first."""
    if len(models) == 1:
        return models[0]
    digests = hashlib.sha256("\n".join(model.digest for model in models).encode())
    return replace(models[0], name=JOINT.join(model.name for model in models), digest=digests.hexdigest())


def _model(found: experiment.Experiment, columns: Sequence[str], halo_m: float | None) -> Model:
    config = found.path / "config.py"
    texts = [digest.sha256(found.checkpoint), digest.sha256(config) if config.is_file() else ""]
    codes = found.path / class_codes.FILE
    texts += [digest.sha256(codes)] if codes.is_file() else []
    texts += [f"{name}={getattr(found.settings, name)}" for name in ANSWERED_BY]
    classes: list[dict[str, Any]] = found.card()["classes"]
    return Model(found.name, hashlib.sha256("\n".join(texts).encode()).hexdigest(), classes, tuple(columns), halo_m)
