"""The process that owns one device and its models: ``python -m app.engine.process --fd N --models … --device …``."""

import argparse
import logging
import platform
import socket
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from app.clouds.cloud import Cloud
from app.diagnostics.machine import usable_cores
from app.engine.channel import Channel, ChannelError, close_all
from app.engine.child import tie_to_parent
from app.engine.packed import Packed, pack_segmentation, unpack_cloud
from app.engine.protocol import Failure, ModelCard, Ready, Segment, Segmented
from app.errors import BadModel, DeadlineExceeded, NotReady, Problem
from app.pipeline.modes import MAX_PASSES
from app.pipeline.segmenter import Segmenter
from app.zoo import experiment, loading

log = logging.getLogger(__name__)


def main() -> None:
    """Load the models, report, and serve jobs until the parent closes the channel."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tile-voxels", type=int, required=True)
    parser.add_argument("--log-level", required=True)
    arguments = parser.parse_args()
    tie_to_parent()
    logging.basicConfig(format="engine %(levelname)s %(message)s", level=arguments.log_level.upper())
    channel = Channel(socket.socket(fileno=arguments.fd))
    try:
        engine = Engine.load(arguments.models, arguments.device, arguments.threads, arguments.tile_voxels)
        channel.send(engine.ready)
    except Problem as problem:
        channel.send(Failure(problem.status, problem.detail))
        return
    try:
        while True:
            engine.serve(channel)
    except ChannelError:
        return


class Engine:
    """Models on one device; the only thread of this process uses them."""

    def __init__(self, segmenters: dict[str, Segmenter], ready: Ready):
        self.segmenters = segmenters
        self.ready = ready

    @classmethod
    def load(cls, models: str, device: str, threads: int, tile_voxels: int) -> "Engine":
        """Load and warm every model of the setting ``models``; one that cannot be served says so on its card.

        Raises Problem where there is no such folder, or no such device.
        """
        device = choose_device(device)
        torch.set_num_threads(threads or usable_cores())
        segmenters: dict[str, Segmenter] = {}
        cards = []
        for folder in experiment.find(models):
            card, segmenter = load_model(folder, device, tile_voxels, taken=segmenters)
            cards.append(card)
            if segmenter is not None:
                segmenters[card.name] = segmenter
        ready = Ready(device, device_name(device), torch.get_num_threads(), cards)
        return cls(segmenters, ready)

    def serve(self, channel: Channel) -> None:
        """Answer one job; raises ChannelError where the parent is gone."""
        job, fds = channel.receive()
        try:
            answer, results = self.answer(job, fds[0])
        finally:
            close_all(fds)
        try:
            channel.send(answer, results)
        finally:
            close_all(results)

    def answer(self, job: Segment, fd: int) -> tuple[Segmented | Failure, list[int]]:
        """The message that ends ``job``, and the descriptors to send with it."""
        try:
            if time.time() >= job.deadline_unix_s:
                raise DeadlineExceeded("The time for the request was over before its turn came.")
            segmenter = self.segmenters[job.options.model]
            cloud = unpack_cloud(Packed(fd, job.layout, job.meta))
            options = job.options
            max_passes = options.max_passes or MAX_PASSES
            segmentation = segmenter.segment(cloud, options.fields, options.seed, options.mode, max_passes)
            packed = pack_segmentation(segmentation)
            return Segmented(job.job_id, packed.layout, packed.meta), [packed.fd]
        except Problem as problem:
            return Failure(problem.status, problem.detail, job.job_id), []
        except (torch.OutOfMemoryError, MemoryError):
            log.exception("job %s failed", job.job_id)
            detail = "The memory of the server did not suffice for this cloud; a lower POINTSERVE_TILE_VOXELS may help."
            return Failure(NotReady.status, detail, job.job_id), []
        except Exception:
            log.exception("job %s failed", job.job_id)
            if self.ready.device == "cuda":
                torch.cuda.synchronize()  # raises, and so ends the process, where the context is broken for good
            detail = f"Segmenting the cloud failed; the server's log says why, under job {job.job_id}."
            return Failure(Problem.status, detail, job.job_id), []


def load_model(
    folder: Path, device: str, tile_voxels: int, taken: Collection[str]
) -> tuple[ModelCard, Segmenter | None]:
    """The model of one experiment folder, warm, and its card; where it cannot be served, the card says why."""
    card = ModelCard(folder.name, str(folder), "", "", 0, [], [], None, 0)
    try:
        card = ModelCard(**experiment.load(folder).card())
        if card.name in taken:
            raise BadModel(f"another model is called {card.name!r}; rename the folder")
        loaded = loading.load_model(folder)
        card = ModelCard(**loaded.card())
        segmenter = Segmenter(loaded.network, loaded.experiment.recipe, device, tile_voxels)
        segmenter.segment(warm_up_cloud())
        return card, segmenter
    except Problem as problem:
        reason = problem.detail
    except Exception as error:
        log.exception("model %s cannot be served", folder)
        reason = f"{type(error).__name__}: {error}"
    log.warning("model %s is not served: %s", folder, reason)
    return ModelCard(**{**vars(card), "served": False, "reason": reason}), None


def warm_up_cloud() -> Cloud:
    """A few points with every channel that a model may want."""
    rng = np.random.default_rng(0)
    num_points = 256
    return Cloud(
        xyz=rng.uniform(0, 2, (num_points, 3)),
        format="npy",
        rgb=rng.integers(0, 256, (num_points, 3), np.uint8),
        intensity=rng.uniform(0, 1, num_points).astype(np.float32),
        intensity_scale=1.0,
        normals=np.tile(np.array([0, 0, 1], np.float32), (num_points, 1)),
    )


def choose_device(device: str) -> str:
    """``device`` itself, or the best there is for ``auto``; BadModel where CUDA is asked for and cannot be had."""
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise BadModel("device cuda was asked for, but torch sees no CUDA device; set POINTSERVE_DEVICE=cpu or auto")
    if device == "auto":
        return "cuda" if available else "cpu"
    return device


def device_name(device: str) -> str:
    """What the device is called, for people."""
    return torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
