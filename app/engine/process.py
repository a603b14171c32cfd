"""The process that owns one device and its models: ``python -m app.engine.process --fd N --heartbeat-fd M``.

It reads no settings from its environment: the first message of its parent holds them.
"""

import argparse
import logging
import os
import platform
import socket
import sys
import threading
from contextlib import AbstractContextManager, nullcontext

import torch

from app.diagnostics.machine import usable_cores
from app.engine.channel import Channel, ChannelError, close_all
from app.engine.child import tie_to_parent
from app.engine.company import Company
from app.engine.device_memory import memory, release
from app.engine.heartbeat import Heartbeat
from app.engine.model_set import ModelSet
from app.engine.process_exit import DEVICE_LOST
from app.engine.protocol import Batch, Configure, Failure, LoadModel, ModelCards, Ready, UnloadModel
from app.engine.runner import DeviceLost, Runner
from app.errors import BadModel, Problem

KEPT_BYTES = 128 << 20  # beyond the least that it ever held

log = logging.getLogger(__name__)


def main() -> None:
    """Load the models, report, and serve batches until the parent closes the channel."""
    arguments = _arguments()
    tie_to_parent()
    heartbeat = Heartbeat(arguments.heartbeat_fd)
    os.close(arguments.heartbeat_fd)
    heartbeat.keep_beating()
    channel = Channel(socket.socket(fileno=arguments.fd))
    try:
        configuration = _configuration(channel)
        settings = configuration.settings
        logging.basicConfig(format="engine %(levelname)s %(message)s", level=settings.log_level.upper())
        log.debug("settings: %s", settings)
        try:
            device = choose_device(settings.device)
            torch.set_num_threads(settings.threads or usable_cores())
            models = ModelSet(settings, device, configuration.pass_bytes)
            models.load_all(configuration.unloaded)
        except Problem as problem:
            channel.send(Failure.of(problem))
            return
        company = Company(settings.batches_in_flight(device))
        pairs = [Channel.pair() for _ in range(company.max_batches - 1)]
        servers = [
            EngineServer(ours, models, heartbeat, number, company, device, settings.shared_voxels)
            for number, ours in enumerate([channel, *(ours for ours, _ in pairs)])
        ]
        ready = Ready(device, device_name(device), torch.get_num_threads(), models.cards)
        channel.send(ready, [theirs.fileno() for _, theirs in pairs])
        for _, theirs in pairs:
            theirs.close()
    except ChannelError:
        return
    for server in servers[1:]:
        threading.Thread(target=server.keep_serving, name="lane", daemon=True).start()
    servers[0].keep_serving()


class EngineServer:
    """Serves one lane, in one thread, with the models on the device that all lanes share."""

    def __init__(
        self,
        channel: Channel,
        models: ModelSet,
        heartbeat: Heartbeat,
        lane: int,
        company: Company,
        device: str,
        batch_voxels: int,
    ):
        """``lane`` is its number; the first one also loads and unloads models."""
        self.models = models
        self._channel = channel
        self._heartbeat = heartbeat
        self._lane = lane
        self._device = device
        self._runner = Runner(models, heartbeat.lanes[lane], company, device, batch_voxels)
        self._least_bytes = sys.maxsize
        self._weigh()

    def keep_serving(self) -> None:
        """Answer messages, then end the process: once the parent is gone, the device is lost, or there is a bug."""
        try:
            with self._stream():
                while True:
                    self.serve()
        except ChannelError:
            os._exit(0)  # other lanes may be computing
        except DeviceLost:
            log.critical("the device reported an error that only a new process overcomes")
            os._exit(DEVICE_LOST)  # tearing a broken context down may hang
        except BaseException:
            log.critical("a thread that serves met a bug", exc_info=True)
            os._exit(1)

    def _stream(self) -> AbstractContextManager[object]:
        """What the device does for a lane is in order, and beside what it does for others. Models are on its default
        stream, which the first lane has."""
        is_beside = self._device == "cuda" and self._lane > 0
        return torch.cuda.stream(torch.cuda.Stream()) if is_beside else nullcontext()

    def serve(self) -> None:
        """Answer one message; raises ChannelError if the parent is gone, DeviceLost if the device is."""
        message, fds = self._channel.receive()
        try:
            if isinstance(message, Batch):
                self._run(message, fds)
            else:
                self._channel.send(self._change(message))
        finally:
            close_all(fds)
            self._weigh()

    def _run(self, batch: Batch, fds: list[int]) -> None:
        self._heartbeat.lanes[self._lane].count_begun()
        for answer, results in self._runner.run(batch, fds):
            try:
                self._channel.send(answer, results)
            finally:
                close_all(results)

    def _change(self, message: LoadModel | UnloadModel) -> ModelCards | Failure:
        try:
            if isinstance(message, LoadModel):
                self.models.load(message.name)
            else:
                self.models.unload(message.name)
        except Problem as problem:
            return Failure.of(problem)
        return ModelCards(self.models.cards)

    def _weigh(self) -> None:
        now = memory(self._device, self.models.memory_bytes)
        if self._device == "cpu" and now.used > self._least_bytes + KEPT_BYTES:
            release(self._device)  # what a large cloud left is for the files of other requests
            now = memory(self._device, self.models.memory_bytes)
        self._least_bytes = min(self._least_bytes, now.used)
        self._heartbeat.memory = now


def _configuration(channel: Channel) -> Configure:
    """The first message; raises ChannelError if it is another, or the parent is gone."""
    message, fds = channel.receive()
    if not isinstance(message, Configure):
        close_all(fds)
        raise ChannelError(f"{type(message).__name__} came before the settings")
    return message


def choose_device(device: str) -> str:
    """``device`` itself, or the best there is for ``auto``; BadModel if CUDA is asked for and cannot be had."""
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise BadModel("device cuda was asked for, but torch sees no CUDA device; set POINTSERVE_DEVICE=cpu or auto")
    if device == "auto":
        return "cuda" if available else "cpu"
    return device


def device_name(device: str) -> str:
    """Name of the device, for people."""
    return torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--heartbeat-fd", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
