"""Loads a model: builds the network of an experiment folder and gives it its weights."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.errors import BadModel
from app.networks import registry
from app.networks.network import Network
from app.pipeline.segmenter import Segmenter
from app.settings import DEFAULTS, ModelSettings

from . import encoder, lora, text_embeddings
from .checkpoint import Checkpoint, open_checkpoint
from .experiment import Experiment, load
from .precision import precision_for
from .weight_names import matched, parts_told

SHOWN = 4
log = logging.getLogger(__name__)

COUNTER = "num_batches_tracked"  # of batch norms: older checkpoints lack it and inference does not read it


@dataclass(frozen=True)
class LoadedModel:
    """An experiment with its network in eval mode on the CPU.

    ``remarks``, a sentence each, say what a user should know of the weights.
    """

    experiment: Experiment
    network: Network
    remarks: list[str] = field(default_factory=list)

    def card(self) -> dict[str, Any]:
        """The experiment's card, with the number of parameters."""
        num_parameters = sum(parameter.numel() for parameter in self.network.parameters())
        return self.experiment.card(num_parameters) | {"remarks": self.remarks}

    def segmenter(self, device: str) -> Segmenter:
        """The network at work on ``device``, in the precision and the tiles that the settings want. Raises BadModel."""
        settings = self.experiment.settings
        precision = precision_for(self.experiment.name, self.network.supports_half_precision, device, settings)
        return Segmenter(self.network, self.experiment.procedure, device, settings.tile_voxels, precision)


def load_model(folder: Path, settings: ModelSettings = DEFAULTS) -> LoadedModel:
    """The network of ``folder`` with its weights, as the settings want it.

    Raises BadModel if config, checkpoint and network do not agree.
    """
    experiment = load(folder, settings)
    checkpoint = match_weights(experiment, open_checkpoint(experiment.checkpoint, settings))
    for remark in checkpoint.remarks:
        log.warning("%s: %s", experiment.name, remark)
    return LoadedModel(experiment, build_for(experiment, checkpoint.weights), checkpoint.remarks)


def match_weights(experiment: Experiment, checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint`` with only the weights that the network of ``experiment`` has, under its names. Raises BadModel."""
    if encoder.is_encoder(experiment.path):
        return checkpoint
    expected = [name for name in _names(experiment.model) if not name.endswith((COUNTER, text_embeddings.KEY))]
    weights, remarks = matched(checkpoint.weights, expected)
    return checkpoint._replace(weights=weights, remarks=[*checkpoint.remarks, *remarks])


def _names(model: Mapping[str, Any]) -> Iterable[str]:
    """Names of the weights of a config's ``model``; widths do not matter for them."""
    if model["type"] == registry.UPSTREAM:
        return registry.build(model).get_submodule("module").state_dict()
    with torch.device("meta"):
        return registry.build(model).state_dict()


def build_for(experiment: Experiment, weights: Mapping[str, Tensor]) -> Network:
    """The network of ``experiment`` with the weights of its checkpoint and what lies beside it; as ``build``."""
    if encoder.is_encoder(experiment.path):
        return build(experiment.model, encoder.assemble(experiment.path, weights, experiment.settings))
    return build(experiment.model, text_embeddings.add(experiment.model, weights, experiment.path))


def build(model: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Network:
    """The network of a config's ``model`` with ``weights``, every one of them used and none missing.

    Names and shapes are compared before memory is taken for the network.
    """
    if model["type"] == registry.UPSTREAM:
        network = registry.build(model)
        own = network.get_submodule("module")
        _compare(own.state_dict(), weights)
        own.load_state_dict({**own.state_dict(), **weights})
        return network.requires_grad_(False)
    model, weights = registry.completed(model, weights), lora.merge(model, weights)
    with torch.device("meta"):
        expected = registry.build(model).state_dict()
    _compare(expected, weights)
    network = registry.build(model)
    network.load_state_dict({**network.state_dict(), **weights})
    return network.requires_grad_(False)


def _compare(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    missing = [name for name in expected if name not in weights and not name.endswith(COUNTER)]
    unexpected = [name for name in weights if name not in expected]
    unlike = [
        f"{name} is {_shape(weights[name])}, the network's {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in weights and not _alike(weights[name], tensor)
    ]
    problems = [
        f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape or type", unlike))
        if names
    ]
    if problems:
        misfit = f"the weights do not fit the network that config.py describes: {'; '.join(problems)}"[:2000]
        raise BadModel(misfit + parts_told(unexpected))


def _alike(weight: Tensor, tensor: Tensor) -> bool:
    return weight.shape == tensor.shape and weight.is_floating_point() == tensor.is_floating_point()


def _shape(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
