"""When a head is there, however it arrives."""

import socket
from collections.abc import Iterator

import pytest

from app.http.front.connection import FIRST_BYTES, HEAD_BYTES, Connection, Waiting

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
    assert connection.take() == HEAD
    assert not connection.has_head


def test_what_follows_a_head_is_not_lost(ends):
    connection, client = ends
    client.send(HEAD + HEAD + b"POST")
    connection.receive()
    rest = connection.take()[len(HEAD) :]
    connection.put_back(rest)
    assert connection.has_head
    connection.put_back(rest[len(HEAD) :])
    assert not connection.has_head
    assert connection.data == b"POST"


@pytest.mark.parametrize("sent", [b"\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: x\n", bytes(HEAD_BYTES + 1)])
def test_what_is_no_head_is_not_waited_for(ends, sent: bytes):
    connection, client = ends
    client.send(sent)
    connection.receive()
    assert connection.has_head
    assert len(connection.data) <= HEAD_BYTES


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
    connection.put_back(head)
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


BODY = {
    "none": (b"", b""),
    "one of a length": (b"content-length: 5\r\n", b"12345"),
    "a long one": (b"Content-Length:  999999 \r\n", bytes(FIRST_BYTES)),
    "none of a length": (b"Content-Length: 0\r\n", b""),
    "chunks": (b"Transfer-Encoding: chunked\r\n", b"5;a=b\r\nhello\r\n2\r\n\r\n\r\n0\r\nA: b\r\n\r\n"),
    "long chunks": (b"TRANSFER-ENCODING: Chunked\r\n", b"fffff\r\n" + bytes(FIRST_BYTES - 7)),
}


@pytest.mark.parametrize(("header", "body"), BODY.values(), ids=BODY)
def test_enough_of_a_body_is_here_with_its_last_byte(ends, header: bytes, body: bytes):
    connection, client = ends
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n")
    connection.receive()
    for begin in range(0, len(body), 1 if len(body) < 99 else 99):
        assert connection.lacks_body
        assert not connection.is_due
        client.send(body[begin : begin + (1 if len(body) < 99 else 99)])
        connection.receive()
    assert connection.has_head
    assert connection.is_due
    assert not connection.lacks_body


@pytest.mark.parametrize("chunk", [b"x\r\n", b"-1\r\n", b"\r\n"])
def test_chunks_that_are_none_are_not_waited_for(ends, chunk: bytes):
    ends[0].put_back(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
    assert ends[0].is_due


def test_a_client_that_waits_for_a_word_is_asked_for_at_once(ends):
    ends[0].put_back(b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 9\r\n\r\n")
    assert ends[0].lacks_body
    assert ends[0].is_due
    ends[0].was_asked = True
    assert not ends[0].is_due
    ends[1].close()
    ends[0].receive()
    assert ends[0].is_due
