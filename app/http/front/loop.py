"""The thread that reads request heads and keeps idle connections; it never blocks on one."""

import logging
import os
import queue
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from app.engine.deadline import STOPPING
from app.http.front.connection import After, Connection, Waiting
from app.http.front.handover import Beside, Handover, Nobody
from app.http.front.pace import Crowd
from app.http.front.pool import Pool
from app.http.front.port import Port
from app.http.front.refusal import refuse
from app.settings import Settings

IDLE_S = 75.0  # more than the 60 s of most proxies, so that they close unused connections and not this end
SOON_S = 0.05  # for a body that comes right after its head
YOUNG_S = 0.2  # for what a connection waits for to come, before it gives way to a new one
LINGER_S = 1.0
LINGER_BYTES = 1 << 20
CROWD_LOOK_S = 0.25
PROBES = (b"/health/live", b"/health/ready")
NUM_PROBE_THREADS = 2
LATE = "The request's headers did not arrive within {:g} s, the time allowed. Send them at once."
LATE_BODY = "Next to nothing of the body arrived within {:g} s, the time allowed. Send it again."

log = logging.getLogger(__name__)


class Loop:
    """Hands connections with a whole head to ``serve``, in a thread; all else happens in the thread that steps.

    Probes of health have threads of their own, so that nothing else can keep them waiting. Where ``max_connections``
    are open, or no descriptors are left, those that wait without having asked for anything go first. Requests that are
    for another web process go to it with their connections.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        serve: Callable[[Connection, bool], After],
        crowd: Crowd,
        num_threads: int,
        settings: Settings,
        beside: Beside | None = None,
    ):
        self.num_open = 0
        self.num_received = 0  # connections, from other processes
        self._beside = beside or Nobody()
        self._serve = serve
        self._crowd = crowd
        self._max_connections = settings.max_connections
        self._settings = settings
        self._new, self._begun = Waiting(settings.header_timeout_s), Waiting(settings.header_timeout_s)
        self._soon, self._body = Waiting(SOON_S), Waiting(settings.upload_stall_s)
        self._ending, self._idle = Waiting(LINGER_S), Waiting(IDLE_S)
        # in the order in which they make room
        self._rooms = (self._new, self._begun, self._body, self._ending, self._idle, self._soon)
        self._served: queue.SimpleQueue[tuple[Connection, After]] = queue.SimpleQueue()
        self._to_watch: queue.SimpleQueue[Handover] = queue.SimpleQueue()
        self._is_stopping = False
        self._selector = selectors.DefaultSelector()
        self._port = Port(listeners, self._selector, self._take, self._full, self._make_room)
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake)
        self._threads: Pool[Connection] = Pool("request", num_threads, lambda it: self._work(it, False))
        self._probes: Pool[Connection] = Pool("probe", NUM_PROBE_THREADS, lambda it: self._work(it, True))

    def wake(self) -> None:
        """Have a step return soon; from any thread, or a signal's handler."""
        with suppress(BlockingIOError):  # it is full, so the step will find it
            os.write(self._waker, b".")

    def step(self, timeout_s: float) -> None:
        """Do what there is to do, or wait for it so long at most."""
        self._port.watch()
        for key, _ in self._selector.select(self._until(timeout_s)):
            key.data(key.fileobj)
        while not self._served.empty():
            self._release(*self._served.get())
        while not self._to_watch.empty():
            handover = self._to_watch.get()
            self._selector.register(handover.sock, selectors.EVENT_READ, lambda _, of=handover: self._adopt(of))
        for room in self._rooms:
            for connection in room.expired():
                self._expire(connection, room)
        if self._threads.num_waiting:
            self._crowd.make_room()

    def watch(self, handover: Handover) -> None:
        """Take the connections that come from another process; from any thread."""
        self._to_watch.put(handover)
        self.wake()

    def make_room(self) -> bool:
        """Close the connection that would be missed least; whether there is one."""
        for room in self._rooms:
            connection = room.oldest()
            if connection and (room is self._idle or time.monotonic() - connection.since_s >= YOUNG_S):
                self._leave(connection, room)
                self._drop(connection)
                return True
        return False

    def stop(self, patience_s: float) -> None:
        """Close the port, and connections that still wait after ``patience_s``; requests under way go on."""
        self._is_stopping = True
        self._port.close()
        for room in self._rooms:
            room.hurry(patience_s)

    def _until(self, timeout_s: float) -> float:
        timeout_s = min(timeout_s, self._port.rest_s)
        if self._threads.num_waiting:
            timeout_s = min(timeout_s, CROWD_LOOK_S)
        first_s = min((oldest.deadline_s for room in self._rooms if (oldest := room.oldest())), default=float("inf"))
        return max(0.0, min(timeout_s, first_s - time.monotonic()))

    def _wake(self, pipe: int) -> None:
        with suppress(BlockingIOError):
            os.read(pipe, 4096)

    def _full(self) -> str:
        """Why there may be no connection more; '' if there may."""
        num_open = self.num_open + self._beside.num_connections
        return f"{num_open} connections are open, as many as may be" if num_open >= self._max_connections else ""

    def _make_room(self) -> bool:
        """Close a connection of this process; if there is none to close, other processes and slow clients are asked for
        room, and the answer is no."""
        if self.make_room():
            return True
        self._beside.make_room()
        self._crowd.make_room()
        return False

    def _take(self, connection: Connection) -> None:
        """A connection that is new here."""
        self.num_open += 1
        self._read(connection, None)

    def _adopt(self, handover: Handover) -> None:
        """Take the connections that have come."""
        try:
            while connection := handover.receive():
                self.num_received += 1
                self._take(connection)
        except EOFError:
            self._selector.unregister(handover.sock)
            handover.close()

    def _read(self, connection: Connection, room: Waiting | None) -> None:
        """Take what has arrived on a connection that waits in ``room``, or in none yet."""
        try:
            connection.receive()
        except OSError:
            connection.has_ended = True
        if connection.has_head and not connection.was_asked and self._beside.take_over(connection):
            if room is not None:
                self._leave(connection, room)
            self._drop(connection)  # the other process has a descriptor of its own
            return
        is_over = connection.has_ended and not connection.has_head
        goes_to = self._room_for(connection)
        if room is goes_to and not connection.is_due and not is_over:
            return
        if room is not None:
            self._leave(connection, room)
        if connection.is_due:
            self._submit(connection)
        elif is_over:
            self._drop(connection)
        else:
            self._enter(connection, goes_to)

    def _room_for(self, connection: Connection) -> Waiting:
        """The queue in which a connection waits until its request is whole."""
        if connection.has_head:
            return self._body if connection.was_asked else self._soon
        return self._begun if connection.data else self._new

    def _submit(self, connection: Connection) -> None:
        (self._probes if connection.asks_for(PROBES) else self._threads).submit(connection)

    def _work(self, connection: Connection, is_probe: bool) -> None:
        """In a thread of its own."""
        after = After.DROP
        try:
            after = self._serve(connection, is_probe)
        finally:
            self._served.put((connection, after))
            self.wake()

    def _release(self, connection: Connection, after: After) -> None:
        """A request is over."""
        if after is After.DROP:
            self._drop(connection, abruptly=True)
        elif after is After.CLOSE:
            self._end(connection)
        elif connection.data or connection.has_ended:
            self._read(connection, None)
        else:
            self._enter(connection, self._idle)

    def _end(self, connection: Connection) -> None:
        """Say that nothing follows, and read on for a moment: closing with unread bytes would reset the client's end
        before it has read the answer."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
        else:
            self._enter(connection, self._ending)

    def _discard(self, connection: Connection) -> None:
        try:
            connection.discard()
        except BlockingIOError:
            return
        except OSError:
            connection.has_ended = True
        if connection.has_ended or connection.num_discarded > LINGER_BYTES:
            self._leave(connection, self._ending)
            self._drop(connection)

    def _expire(self, connection: Connection, room: Waiting) -> None:
        self._leave(connection, room)
        if room is self._soon:
            self._submit(connection)
        elif room is self._begun:
            self._refuse(connection, LATE.format(self._settings.header_timeout_s))
        elif room is self._body:
            self._refuse(connection, LATE_BODY.format(self._settings.upload_stall_s))
        else:
            self._drop(connection)

    def _refuse(self, connection: Connection, late: str) -> None:
        status, detail = (503, STOPPING) if self._is_stopping else (408, late)
        answer = refuse(status, detail, bytes(connection.data), connection.address)
        with suppress(OSError):
            connection.sock.send(answer, socket.MSG_DONTWAIT)
        self._end(connection)

    def _enter(self, connection: Connection, room: Waiting) -> None:
        room.add(connection)

        def act(_: object) -> None:
            if connection not in room:
                return  # an event before this one has ended its wait
            if room is self._ending:
                self._discard(connection)
            else:
                self._read(connection, room)

        try:
            self._selector.register(connection.sock, selectors.EVENT_READ, act)
        except OSError as error:
            log.warning("A connection cannot be watched (%s) and was dropped.", error.strerror)
            room.remove(connection)
            self._drop(connection)

    def _leave(self, connection: Connection, room: Waiting) -> None:
        room.remove(connection)
        self._selector.unregister(connection.sock)

    def _drop(self, connection: Connection, abruptly: bool = False) -> None:
        if abruptly:  # forgets what the client has not taken
            with suppress(OSError):
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            connection.sock.close()
        self.num_open -= 1
