"""The model of a survey, as it is known before its network is loaded."""

import hashlib
from pathlib import Path
from typing import Any

from app.engine.protocol import ModelCard
from app.pipeline.halo import HALO_VOXELS
from app.settings import ModelSettings
from app.survey.workers import Model
from app.zoo import digest, experiment

ANSWERED_BY = ("legacy_colors", "legacy_blocks", "precision", "backend", "tile_voxels")  # settings that change answers


def model_of(card: ModelCard, settings: ModelSettings) -> Model:
    """The model of ``card``, with a digest of its weights and config, and of the settings that change its answers.

    Raises BadModel if its folder is not what it was.
    """
    found = experiment.load(Path(card.path), settings)
    return _model(found, list(card.columns))


def model_in(folder: Path, settings: ModelSettings) -> Model:
    """The model in ``folder``, without the columns that it reads, which only its network tells."""
    return _model(experiment.load(folder, settings), [])


def _model(found: experiment.Experiment, columns: list[str]) -> Model:
    config = found.path / "config.py"
    texts = [digest.sha256(found.checkpoint), digest.sha256(config) if config.is_file() else ""]
    texts += [f"{name}={getattr(found.settings, name)}" for name in ANSWERED_BY]
    classes: list[dict[str, Any]] = found.card()["classes"]
    halo_m = HALO_VOXELS * found.grid_size_m if found.grid_size_m else None
    return Model(found.name, hashlib.sha256("\n".join(texts).encode()).hexdigest(), classes, tuple(columns), halo_m)
