"""The loop while as many connections are open as may be, by a clock that stands still."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from app.http.front import connection, loop, port
from app.http.front.connection import After, Connection
from app.http.front.loop import YOUNG_S, Loop
from app.http.front.pace import Crowd
from app.settings import Settings

MOST = 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now_s=100.0)
    for module in (connection, loop, port):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


@pytest.fixture
def talk(clock: SimpleNamespace) -> Iterator[tuple[Loop, Callable[[], socket.socket]]]:
    """A loop for ``MOST`` connections that answers what is asked, and what connects to it."""

    def serve(connection: Connection, is_probe: bool) -> After:
        connection.take()
        connection.sock.sendall(b"answer")
        return After.KEEP

    listener = socket.create_server(("127.0.0.1", 0))
    subject = Loop([listener], serve, Crowd(), 1, Settings(max_connections=MOST))
    with ExitStack() as stack:
        yield subject, lambda: stack.enter_context(socket.create_connection(listener.getsockname()))
        subject.stop(0.0)


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed it without a word."""
    return bool(select.select([client], [], [], 0)[0]) and client.recv(9) == b""


def test_a_connection_has_a_moment_to_ask_before_it_gives_way(clock, talk):
    subject, connect = talk
    clients = [connect() for _ in range(MOST + 1)]
    subject.step(0.0)
    assert [is_closed(client) for client in clients] == [False, False, False]
    clock.now_s += YOUNG_S
    subject.step(0.0)
    assert [is_closed(client) for client in clients] == [True, False, False]
    assert subject.num_open == MOST


def test_a_connection_that_was_answered_gives_way_before_one_that_just_came(clock, talk):
    subject, connect = talk
    young, answered = connect(), connect()
    answered.sendall(b"GET / HTTP/1.1\r\n\r\n")
    while not select.select([answered], [], [], 0)[0]:
        subject.step(0.1)
    assert answered.recv(9) == b"answer"
    subject.step(1.0)  # takes it back from the thread
    last = connect()
    subject.step(0.1)
    assert [is_closed(client) for client in (young, answered, last)] == [False, True, False]
    assert subject.num_open == MOST
