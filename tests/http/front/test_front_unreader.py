"""Bodies as gunicorn's parser takes them from a connection."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from app.http.front.pace import Crowd, Patience
from app.http.front.stream import Phase, Stream, TooSlow, let_wait
from app.http.front.unreader import Unreader, receiver

BODY = bytes(range(256)) * 4096
PATIENCE = Patience(30.0, 8192.0)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end and the client's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def parser(sock: socket.socket | Stream, held: bytes = b"") -> RequestParser:
    made = RequestParser(Config(), sock, ("127.0.0.1", 1))
    made.unreader = Unreader(sock)
    made.unreader.unread(held)
    return made


def send(sock: socket.socket, data: bytes) -> None:
    threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()


def request(body: bytes, path: bytes = b"/") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % (path, len(body)) + body


def in_pieces(parsed: RequestParser, size: int) -> bytes:
    return b"".join(iter(lambda: parsed.mesg.body.read(size), b""))


@pytest.mark.parametrize("size", [1, 1000, 1 << 18, 2 << 20])
def test_a_body_arrives_whole_in_pieces_of_any_size(ends, size):
    body = BODY if size > 1 else BODY[:1000]
    sent = request(body)
    send(ends[1], sent[300:])
    parsed = parser(ends[0], sent[:300])
    next(parsed)
    assert in_pieces(parsed, size) == body


def test_requests_that_follow_each_other_are_kept_apart(ends):
    sent = request(BODY[:5000], b"/first") + request(b"", b"/second") + request(BODY, b"/third")
    send(ends[1], sent[6000:])
    parsed = parser(ends[0], sent[:6000])
    found = []
    for _ in range(3):
        path = next(parsed).path
        found.append((path, in_pieces(parsed, 1 << 18)))
    assert found == [("/first", BODY[:5000]), ("/second", b""), ("/third", BODY)]


def test_nothing_beyond_the_body_is_received(ends):
    ends[1].sendall(request(BODY[:5000])[:-1])
    parsed = parser(ends[0])
    next(parsed)
    ends[1].sendall(BODY[4999:5000] + b"what follows")
    assert in_pieces(parsed, 1 << 18) == BODY[:5000]
    assert parsed.unreader.take_buffered() + ends[0].recv(100) == b"what follows"


def test_a_body_that_ends_early_is_as_long_as_it_came(ends):
    ends[1].sendall(request(BODY[:5000])[:-1])
    ends[1].shutdown(socket.SHUT_WR)
    parsed = parser(ends[0])
    next(parsed)
    assert in_pieces(parsed, 1 << 18) == BODY[:4999]


def test_chunks_of_any_size(ends):
    parts = [BODY, BODY[:7], BODY[:300_000]]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    sent = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    send(ends[1], sent[100:])
    parsed = parser(ends[0], sent[:100])
    next(parsed)
    assert in_pieces(parsed, 1 << 18) == b"".join(parts)


def received(receive: Callable[[memoryview], int]) -> Iterator[bytes]:
    """The pieces that ``receive`` puts into a buffer, one after the other."""
    buffer = memoryview(bytearray(50_000))
    while num_bytes := receive(buffer):
        yield bytes(buffer[:num_bytes])


@pytest.mark.parametrize("num_held", [100, 30_000, 200_000])
def test_a_body_goes_into_a_buffer_and_what_follows_it_does_not(ends, num_held: int):
    sent = request(BODY, b"/first") + request(BODY[:5000], b"/second") + b"rest"
    let_wait(ends[0])
    stream = Stream(ends[0], PATIENCE, PATIENCE, Crowd())
    stream.phase = Phase.BODY
    send(ends[1], sent[num_held:])
    parsed = parser(stream, sent[:num_held])
    for path, body in (("/first", BODY), ("/second", BODY[:5000])):
        assert next(parsed).path == path
        receive = receiver(parsed.mesg.body)
        assert receive is not None
        assert b"".join(received(receive)) == body
        assert parsed.mesg.body.read(1) == b""
    assert (parsed.unreader.take_buffered() or stream.recv(100)) == b"rest"


def test_a_connection_whose_body_broke_off_is_not_used_again(ends):
    let_wait(ends[0])
    stream = Stream(ends[0], Patience(0.05, 0.0), PATIENCE, Crowd())
    stream.phase = Phase.BODY
    parsed = parser(stream, request(BODY)[:-1])
    next(parsed)
    receive = receiver(parsed.mesg.body)
    assert receive is not None
    with pytest.raises(TooSlow):
        list(received(receive))
    assert not parsed.finish_body()


def test_chunks_go_into_no_buffer(ends):
    ends[1].sendall(b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    parsed = parser(ends[0])
    next(parsed)
    assert receiver(parsed.mesg.body) is None
