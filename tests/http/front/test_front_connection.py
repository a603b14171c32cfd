"""When a head is there, however it arrives."""

import socket
from collections.abc import Iterator

import pytest

from app.http.front.connection import HEAD_BYTES, Connection, Waiting

HEAD = b"GET /health/live?a=b HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours, ("127.0.0.1", 1), ("127.0.0.1", 2)), theirs


def test_a_head_is_there_with_its_last_byte(ends):
    connection, client = ends
    for place in range(len(HEAD)):
        assert not connection.has_head
        client.send(HEAD[place : place + 1])
        connection.receive()
    assert connection.has_head
    assert connection.take_head() == HEAD
    assert not connection.has_head


def test_what_follows_a_head_is_not_lost(ends):
    connection, client = ends
    client.send(HEAD + HEAD + b"POST")
    connection.receive()
    rest = connection.take_head()[len(HEAD) :]
    connection.put_head(rest)
    assert connection.has_head
    connection.put_head(rest[len(HEAD) :])
    assert not connection.has_head
    assert connection.head == b"POST"


@pytest.mark.parametrize("sent", [b"\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: x\n", bytes(HEAD_BYTES + 1)])
def test_what_is_no_head_is_not_waited_for(ends, sent: bytes):
    connection, client = ends
    client.send(sent)
    connection.receive()
    assert connection.has_head
    assert len(connection.head) <= HEAD_BYTES


@pytest.mark.parametrize("sent", [b"", b"\r", b"\r\n", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: x\r\n\r"])
def test_what_may_become_one_is(ends, sent: bytes):
    connection, client = ends
    client.send(sent)
    connection.receive()
    assert not connection.has_head
    assert not connection.has_ended
    client.close()
    connection.receive()
    assert connection.has_ended


@pytest.mark.parametrize(
    ("head", "asks"),
    [
        (HEAD, True),
        (b"HEAD /v2/health/live HTTP/1.1\r\n\r\n", True),
        (b"POST /health/live HTTP/1.1\r\n\r\n", False),
        (b"GET /health HTTP/1.1\r\n\r\n", False),
        (b"GET /?/health/live HTTP/1.1\r\n\r\n", False),
        (b"\n", False),
    ],
)
def test_probes_are_known_by_their_head(ends, head: bytes, asks: bool):
    connection, _ = ends
    connection.put_head(head)
    assert connection.asks_for((b"/health/live",)) is asks


def test_the_oldest_is_the_first_to_go(ends):
    first, second = ends[0], Connection(socket.socket(), None, None)
    waiting = Waiting(60.0)
    for connection in (first, second):
        waiting.add(connection)
    assert waiting.oldest() is first
    waiting.remove(first)
    waiting.add(first)
    assert waiting.oldest() is second
    assert list(waiting.expired()) == []
    waiting.hurry(0.0)
    gone = []
    for connection in waiting.expired():
        waiting.remove(connection)
        gone.append(connection)
    assert gone == [second, first]
    second.sock.close()
