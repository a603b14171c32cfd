"""One engine process, seen from the web process: as many connections as it has batches of clouds in flight."""

import os
import socket
import threading
from collections.abc import Callable, Mapping

from app.engine.channel import Channel
from app.engine.child import ChildProcess
from app.engine.connection import EngineConnection, HangLimits
from app.engine.heartbeat import Heartbeat
from app.engine.job import CloudJob
from app.engine.protocol import Configure, Ready


class EngineProcess:
    """A process, its heartbeat, and a connection for each of its lanes.

    Attributes:
        is_over: set once the process takes no more jobs.
    """

    def __init__(self, environment: Mapping[str, str], hang_limits: HangLimits):
        self.heartbeat, fd = Heartbeat.create()
        try:
            self.child = ChildProcess("app.engine.process", ["--heartbeat-fd", str(fd)], environment, [fd])
        finally:
            os.close(fd)
        self.is_over = threading.Event()
        self._hang_limits = hang_limits
        self.first = EngineConnection(self.child.channel, self.heartbeat, 0, hang_limits)
        self._connections = [self.first]

    def ready(self, configuration: Configure) -> Ready:
        """Wait until the models are loaded; raises as ``EngineConnection.ready``."""
        ready, fds = self.first.ready(configuration)
        for fd in fds:
            channel, lane = Channel(socket.socket(fileno=fd)), len(self._connections)
            self._connections.append(EngineConnection(channel, self.heartbeat, lane, self._hang_limits))
        return ready

    @property
    def num_lanes(self) -> int:
        """Batches that it has at a time."""
        return len(self._connections)

    @property
    def unfinished(self) -> list[CloudJob]:
        """The jobs that it was given and has not ended."""
        return [job for connection in self._connections for job in connection.unfinished]

    @property
    def was_begun(self) -> bool:
        """Whether it began to work on a batch that it has not ended."""
        return any(connection.unfinished and connection.was_begun for connection in self._connections)

    def serve(self, work: Callable[[EngineConnection], None]) -> None:
        """Do ``work`` for every connection, each in a thread of its own, the first in this one.

        Once one has ended, all are ended; the exception that did it is raised here.
        """
        errors: list[BaseException] = []

        def run(connection: EngineConnection) -> None:
            try:
                work(connection)
            except BaseException as error:
                errors.append(error)
            finally:
                self.shutdown()

        names = (f"{threading.current_thread().name}-{each.lane}" for each in self._connections[1:])
        threads = [
            threading.Thread(target=run, args=(each,), name=name, daemon=True)
            for each, name in zip(self._connections[1:], names, strict=True)
        ]
        for thread in threads:
            thread.start()
        run(self.first)
        for thread in threads:
            thread.join()
        try:
            if errors:
                raise errors[0]
        finally:
            errors.clear()  # they hold the frames that hold this list, and with them the descriptor of the heartbeat

    def shutdown(self) -> None:
        """Wake everyone who waits for an answer of it; it takes no more jobs."""
        self.is_over.set()
        for connection in self._connections:
            connection.channel.shutdown()

    def end(self, grace_s: float) -> str:
        """As ``ChildProcess.end``; may be called twice."""
        self.is_over.set()
        how = self.child.end(grace_s)
        for connection in self._connections[1:]:
            connection.channel.close()
        return how
