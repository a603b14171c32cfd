"""A front: a web process that takes predictions and hands all else, and its clouds, to the owner of the queue.

``app.http.front_slot`` runs it as ``python -m app.http.front_process --fd N --handover-fd N --counts-fd N``; it ends
with its parent.
"""

import argparse
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from apiflask import APIFlask

from app.engine.channel import Channel, ChannelError
from app.engine.child import FRONT_OOM_SCORE, tie_to_parent
from app.engine.counts import Counts, Each
from app.engine.owner import Owner
from app.engine.parts import Parts
from app.engine.service import Service
from app.engine.web_protocol import Ask, ConfigureFront, FrontReady, Leave, MakeRoom, Told
from app.errors import Problem
from app.http import log
from app.http.application import build
from app.http.front.connection import Connection
from app.http.front.exchange import Exchange
from app.http.front.handover import PREDICTIONS, Handover
from app.http.front.loop import Loop
from app.http.front.pace import Crowd
from app.http.gunicorn import parser_config
from app.http.state import KEY, State
from app.settings import Settings

STEP_S = 1.0
ROOMS = 16  # connections that are closed at a time for new ones
TELL_S = 5.0  # between what it tells of its measures unasked


class OwnerBeside:
    """As ``Beside`` for the loop of a front: whatever is no prediction is for the owner."""

    num_connections = 0

    def __init__(self, handover: Handover):
        self._handover = handover

    def take_over(self, connection: Connection) -> bool:
        """As ``Beside`` has it."""
        return not connection.posts_to(PREDICTIONS) and self._handover.send(connection)

    def make_room(self) -> None:
        """The owner decides about connections."""


class OwnerRate:
    """The rate limit, which the owner counts; as ``RateLimit``."""

    def __init__(self, owner: Owner, per_minute: float):
        self._owner = owner
        self._per_minute = per_minute

    def take(self, client: str) -> None:
        """Count one request; raises Busy if there were too many."""
        if self._per_minute:
            self._owner.ask("rate", client)


class FrontProcess:
    """The loop and the application of a front."""

    def __init__(self, channel: Channel, handover: Handover, counts: Counts, settings: Settings, reader_mib: int):
        self._counts = counts
        self._owner = owner = Owner(channel)
        self._service = Service(settings, Parts.of_owner(settings, owner, counts, reader_mib))
        self._app: APIFlask = build(settings, self._service, rate=OwnerRate(owner, settings.rate_limit))
        config = parser_config(settings)
        self._crowd = crowd = Crowd()
        self._exchange = Exchange(config, self._app, crowd, settings, lambda: bool(owner.ask("room")))
        self._loop = Loop([], self._exchange.serve, crowd, config.threads, settings, OwnerBeside(handover))
        self._loop.watch(handover)
        self._is_owner_gone = False
        self._leave_s: float | None = None
        self._is_room_wanted = False
        self._telling = threading.Lock()

    def run(self) -> None:
        """Serve until the owner is gone, or has said that this is to end and all is answered."""
        self._service.start()
        threading.Thread(target=self._listen, name="owner", daemon=True).start()
        self._note()
        self._owner.send(FrontReady())
        is_leaving, told_s = False, time.monotonic()
        while not self._is_owner_gone and not (is_leaving and not self._loop.num_open):
            self._loop.step(STEP_S)
            self._note()
            if self._leave_s is not None and not is_leaving:
                is_leaving = self._exchange.is_last = True
                self._loop.stop(self._leave_s)
                self._loop.step(0.0)  # takes what was handed over before
            if self._is_room_wanted:
                self._is_room_wanted = False
                self._make_room()
            if time.monotonic() - told_s > TELL_S:
                told_s = time.monotonic()
                self._tell()
        self._tell()  # readers end with this process

    def _note(self) -> None:
        """A sign of life, and what the owner chooses by where connections go."""
        self._counts.set(Each.ALIVE, time.monotonic_ns())
        self._counts.set(Each.LEFT, self._loop.num_received - self._loop.num_open)

    def _make_room(self) -> None:
        """Close connections, several because nobody is told how many clients wait at the port."""
        for _ in range(ROOMS):
            if not self._loop.make_room():
                return

    def _tell(self) -> None:
        """Tell the owner what was counted; one thread at a time, so that nothing older comes after."""
        with self._telling, suppress(Problem):
            self._owner.send(Told(0, self._state.measures.told().told()))

    @property
    def _state(self) -> State:
        found: State = self._app.extensions[KEY]
        return found

    def _listen(self) -> None:
        try:
            self._owner.listen(self._answer, self._hear)
        finally:
            self._is_owner_gone = True
            self._loop.wake()

    def _answer(self, asked: Ask) -> Any:
        if asked.what == "progress":
            progress = self._state.under_way.get(asked.argument)
            return asdict(progress.report()) if progress else None
        if asked.what == "room":
            return self._crowd.make_room()
        return self._tell()

    def _hear(self, message: object) -> None:
        if isinstance(message, Leave):
            self._leave_s = message.patience_s
        elif isinstance(message, MakeRoom):
            self._is_room_wanted = True
        self._loop.wake()


def main() -> None:
    """Serve until the parent is gone or says that it is enough."""
    parser = argparse.ArgumentParser()
    for name in ("--fd", "--handover-fd", "--counts-fd"):
        parser.add_argument(name, type=int, required=True)
    arguments = parser.parse_args()
    tie_to_parent(FRONT_OOM_SCORE)
    channel = Channel(socket.socket(fileno=arguments.fd), may_lack=True)
    try:
        configure, _ = channel.receive()
    except ChannelError:
        return
    assert isinstance(configure, ConfigureFront)
    settings = Settings(**configure.settings)
    log.configure(settings.log_level)
    counts = Counts(arguments.counts_fd, configure.num_processes, configure.place)
    handover = Handover(socket.socket(fileno=arguments.handover_fd))
    with suppress(Problem):  # the owner is gone
        FrontProcess(channel, handover, counts, settings, configure.reader_mib).run()


if __name__ == "__main__":
    main()
