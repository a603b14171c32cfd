"""Models of one engine process: those loaded, and the cards of all others."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from app.clouds.cloud import Cloud
from app.engine.device_memory import memory, peak_bytes, release
from app.engine.model_card import ModelCard
from app.errors import BadModel, NotFound, Problem, UnreadableModel
from app.options import Options
from app.pipeline.batch import answers_alike
from app.pipeline.features import read_columns
from app.pipeline.reach import halo_m
from app.pipeline.segmenter import Segmenter
from app.settings import ModelSettings
from app.zoo import experiment, loading

MIN_TILE_VOXELS = 20_000
UNLOADED = "It was unloaded; POST /models/{}/load loads it again."
PROBE_POINTS = 6000

log = logging.getLogger(__name__)


class ModelSet:
    """Models on one device, for one thread.

    ``device`` is cpu or cuda; ``pass_bytes``, unless 0, is what a pass and its model may take on the CPU, whose memory
    is not theirs alone.
    """

    def __init__(self, settings: ModelSettings, device: str, pass_bytes: int = 0):
        self.segmenters: dict[str, Segmenter] = {}
        self._settings = settings
        self._device = device
        self._pass_bytes = pass_bytes
        self._cards: dict[Path, ModelCard] = {}

    @property
    def cards(self) -> list[ModelCard]:
        """Of every model found, in the order of the setting; those that are not served say why."""
        return list(self._cards.values())

    @property
    def memory_bytes(self) -> int:
        """Of the weights of every loaded model."""
        return sum(card.memory_bytes for card in self.cards if card.served)

    def load_all(self, unloaded: Collection[str] = ()) -> None:
        """Load and warm every model but those ``unloaded``; one that cannot be served says so on its card.

        Raises Problem if the setting names no experiment.
        """
        for folder in experiment.find(self._settings.models):
            card = ModelCard(folder.name, str(folder), "", "", 0, [], [], None, 0)
            is_refused = False
            try:
                card = ModelCard(**experiment.load(folder, self._settings).card())
                if card.name in unloaded:
                    self._cards[folder] = _unloaded(card)
                    continue
                if card.name in self.segmenters:
                    raise BadModel(f"another model is called {card.name!r}; rename the folder")
                self._load(folder)
                continue
            except Problem as problem:
                reason = problem.detail
                is_refused = isinstance(problem, BadModel) and not isinstance(problem, UnreadableModel)
            except Exception as error:
                log.exception("model %s cannot be served", folder)
                reason = f"{type(error).__name__}: {error}"
            log.warning("model %s is not served: %s", folder, reason)
            self._cards[folder] = replace(card, served=False, reason=reason, is_refused=is_refused)

    def load(self, name: str) -> None:
        """Load the model, again if it is loaded already; a served model stays if its new files cannot be used.

        Raises NotFound if no folder has that name, BadModel if it cannot be served.
        """
        folders = [folder for folder in experiment.find(self._settings.models) if folder.name == name]
        if not folders:
            raise NotFound(f"There is no folder of a model {name!r} where POINTSERVE_MODELS looks.")
        try:
            self._load(folders[0])
        except Problem as problem:
            raise BadModel(f"Model {name!r} cannot be served: {problem.detail}") from None
        except Exception as error:
            log.exception("model %s cannot be served", folders[0])
            raise BadModel(f"Model {name!r} cannot be served: {type(error).__name__}: {error}") from None
        finally:
            release(self._device)

    def unload(self, name: str) -> None:
        """Free the model's memory; raises NotFound if it is not loaded."""
        if name not in self.segmenters:
            raise NotFound(f"Model {name!r} is not loaded. Loaded are: {', '.join(self.segmenters) or 'none'}.")
        del self.segmenters[name]
        for folder, card in self._cards.items():
            if card.name == name and card.served:
                self._cards[folder] = _unloaded(card)
        release(self._device)

    def _load(self, folder: Path) -> None:
        loaded = loading.load_model(folder, self._settings)
        card = ModelCard(**loaded.card())
        tensors = [*loaded.network.parameters(), *loaded.network.buffers()]
        segmenter = loaded.segmenter(self._device)
        del loaded
        num_features = _num_features(segmenter)
        bytes_per_voxel = _bytes_per_voxel(segmenter, self._device)
        if bytes_per_voxel:
            fit = self._pass_room(tensors) // bytes_per_voxel
            segmenter.tile_voxels = max(MIN_TILE_VOXELS, min(self._settings.tile_voxels, fit))
        clouds = [cloud_of(num_points, 6.0) for num_points in (400, 3000, 900)]
        self.segmenters[card.name] = segmenter
        self._cards[folder] = replace(
            card,
            precision=segmenter.inference.precision,
            memory_bytes=sum(tensor.nbytes for tensor in tensors),
            bytes_per_voxel=bytes_per_voxel,
            columns=sorted(read_columns(segmenter.procedure)),
            num_features=num_features,
            tile_voxels=segmenter.tile_voxels,
            halo_m=halo_m(segmenter.procedure),
            fields=list(segmenter.fields),
            shares_passes=answers_alike(segmenter, clouds),
        )

    def _pass_room(self, tensors: Sequence[torch.Tensor]) -> int:
        """Bytes left for a pass beside the weights ``tensors``."""
        if self._device == "cpu" and self._pass_bytes:
            return max(0, self._pass_bytes - sum(tensor.nbytes for tensor in tensors))
        now = memory(self._device, 0)
        return int(0.9 * (now.total - now.used))


def _num_features(segmenter: Segmenter) -> int:
    """Width of the input of the network's last layer, 0 if it gives none; warms the model up, too."""
    segmenter.segment(cloud_of(256, 2.0))
    try:
        features = segmenter.segment(cloud_of(256, 2.0), Options(fields=("features",))).fields["features"]
    except Problem:
        return 0
    return int(features.shape[1])


def _unloaded(card: ModelCard) -> ModelCard:
    reason = UNLOADED.format(card.name)
    gone = replace(card, precision="", memory_bytes=0, bytes_per_voxel=0, fields=[])
    return replace(gone, served=False, is_unloaded=True, reason=reason)


def cloud_of(num_points: int, extent_m: float) -> Cloud:
    """A cloud of random points in a low box, with every channel that a model may read."""
    rng = np.random.default_rng(num_points)
    return Cloud(
        xyz=rng.uniform(0, extent_m, (num_points, 3)) * (1, 1, 0.5),
        format="npy",
        rgb=rng.integers(0, 256, (num_points, 3), np.uint8),
        intensity=rng.uniform(0, 1, num_points).astype(np.float32),
        intensity_scale=1.0,
        normals=np.tile(np.array([0, 0, 1], np.float32), (num_points, 1)),
    )


def _bytes_per_voxel(segmenter: Segmenter, device: str) -> int:
    prepared = segmenter.prepare(cloud_of(PROBE_POINTS, 20.0))
    if prepared is None:
        return 0
    return peak_bytes(device, lambda: segmenter.logits(prepared)) // len(prepared)
