"""How long a thread waits for a client, in either direction."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from gunicorn.http.errors import LimitRequestHeaders

from app.http.front.pace import Crowd, Patience, Transfer
from app.http.front.stream import Phase, Stream, TooSlow, let_wait

LONG = Patience(60.0, 8192.0)
MUCH = bytes(64 << 20)  # more than the buffers of a connection hold


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a TCP connection and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as theirs:
        ours, _ = server.accept()
        let_wait(ours)
        with ours:
            yield ours, theirs


def stream(sock: socket.socket, receiving: Patience = LONG, sending: Patience = LONG, crowd: Crowd | None = None):
    made = Stream(sock, receiving, sending, crowd or Crowd())
    made.phase = Phase.BODY
    return made


def dripping(act: Callable[[], object]) -> threading.Event:
    """Has ``act`` done every 20 ms until the event is set or the other end is gone."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.02):
            try:
                act()
            except OSError:
                return

    threading.Thread(target=run, daemon=True).start()
    return done


def read_all(source: Stream) -> None:
    while source.recv(100):
        pass


def test_silence_ends_both_directions(ends):
    with pytest.raises(TooSlow, match="Nothing more of the body arrived"):
        stream(ends[0], Patience(0.1, 0.0)).recv(10)
    with pytest.raises(TooSlow, match="took nothing for"):
        stream(ends[0], sending=Patience(0.1, 0.0)).sendall(MUCH)


def test_a_byte_now_and_then_ends_both_directions_too(ends):
    done = dripping(lambda: ends[1].send(b"a"))
    with pytest.raises(TooSlow, match="less than 8192 bytes a second on average, the least"):
        read_all(stream(ends[0], Patience(0.5, 8192.0)))
    done.set()


def test_an_answer_that_is_taken_slowly_ends(ends):
    done = dripping(lambda: ends[1].recv(65536))
    with pytest.raises(TooSlow, match="took its answer at less than"):
        stream(ends[0], sending=Patience(0.5, 1e9)).sendall(MUCH)
    done.set()


def test_slow_ones_give_way_where_others_wait(ends):
    crowd = Crowd()
    assert not crowd.make_room()
    done = dripping(lambda: ends[1].send(b"a"))
    threading.Thread(target=lambda: [time.sleep(0.05) for _ in iter(crowd.make_room, True)], daemon=True).start()
    with pytest.raises(TooSlow, match="others waited for its place"):
        read_all(stream(ends[0], crowd=crowd))
    done.set()
    assert not crowd.make_room()


def test_what_comes_fast_enough_arrives_whole_in_company(ends):
    crowd, data = Crowd(), bytes(range(256)) * 40
    threading.Thread(target=lambda: (time.sleep(0.3), ends[1].sendall(data), ends[1].close()), daemon=True).start()
    source, got = stream(ends[0], crowd=crowd), b""
    while chunk := source.recv(1000):
        crowd.make_room()
        got += chunk
    assert got == data


def test_only_waiting_for_the_client_counts():
    transfer = Transfer(Patience(1.0, 100.0))
    transfer.reached(200)
    transfer.waited(2.9)
    assert not transfer.is_slow(1.0)
    transfer.waited(0.2)
    assert transfer.is_slow(1.0)
    assert transfer.is_stalled(3.0)
    transfer.reached(200)
    assert transfer.is_stalled(3.0)
    transfer.reached(201)
    assert not transfer.is_stalled(3.0)
    assert not Transfer(Patience(1.0, 0.0)).is_slow(0.0)


def test_an_answer_counts_when_it_is_taken_and_not_when_it_is_buffered(ends):
    crowd = Crowd()
    sent = threading.Event()

    def send() -> None:
        with pytest.raises(TooSlow, match="took its answer slowly"):
            stream(ends[0], crowd=crowd).sendall(MUCH)
        sent.set()

    threading.Thread(target=send, daemon=True).start()
    while not sent.wait(0.05):
        crowd.make_room()  # though hundreds of kilobytes went into the socket at once


def test_a_head_is_not_waited_for_and_neither_is_what_follows_the_request(ends):
    source = stream(ends[0])
    source.phase = Phase.HEAD
    with pytest.raises(LimitRequestHeaders):
        source.recv(1)
    source.phase = Phase.OVER
    with pytest.raises(TooSlow):
        source.recv(1)
    ends[1].send(b"GET")
    assert source.recv(10) == b"GET"


def test_a_client_that_left_is_known(ends):
    source = stream(ends[0])
    assert not source.is_gone()
    ends[1].send(b"x")
    assert not source.is_gone()
    source.recv(1)
    ends[1].close()
    assert source.is_gone()


def pieces(source: Stream, num_bytes: int) -> list[bytes]:
    """The pieces in which ``num_bytes`` fill a buffer."""
    buffer, found = memoryview(bytearray(num_bytes)), []
    while rest := buffer[sum(map(len, found)) :]:
        found.append(bytes(rest[: source.recv_into(rest)]))
    return found


def test_a_body_that_comes_in_drops_is_taken_in_few_pieces(ends):
    data = bytes(range(256)) * 256
    parts = [data[begin : begin + 1024] for begin in range(0, len(data), 1024)]
    threading.Thread(target=lambda: [(ends[1].sendall(part), time.sleep(0.002)) for part in parts], daemon=True).start()
    found = pieces(stream(ends[0]), len(data))
    assert b"".join(found) == data
    assert len(found) < len(parts) / 2


def test_a_piece_that_does_not_fill_is_taken_as_it_is(ends):
    ends[1].sendall(b"begin")
    source, buffer = stream(ends[0]), memoryview(bytearray(1000))
    assert source.recv_into(buffer) == 5
    threading.Thread(target=lambda: (time.sleep(0.5), ends[1].sendall(b"ning")), daemon=True).start()
    assert source.recv_into(buffer) == 4
    assert bytes(buffer[:4]) == b"ning"
    ends[1].close()
    assert source.recv_into(buffer) == 0


def test_a_connection_that_is_cut_gives_what_came_before(ends):
    ends[1].sendall(b"begin")
    ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    threading.Thread(target=lambda: (time.sleep(0.1), ends[1].close()), daemon=True).start()
    source, buffer = stream(ends[0]), memoryview(bytearray(1000))
    assert source.recv_into(buffer) == 5
    with pytest.raises(ConnectionResetError):
        source.recv_into(buffer)


def test_a_body_in_a_buffer_is_waited_for_as_long_as_others_are(ends):
    buffer = memoryview(bytearray(1000))
    with pytest.raises(TooSlow, match="Nothing more of the body arrived"):
        stream(ends[0], Patience(0.1, 0.0)).recv_into(buffer)
    crowd, done = Crowd(), dripping(lambda: ends[1].send(b"a"))
    with pytest.raises(TooSlow, match="less than 8192 bytes a second on average, the least"):
        pieces(stream(ends[0], Patience(0.5, 8192.0)), 1000)
    threading.Thread(target=lambda: [time.sleep(0.05) for _ in iter(crowd.make_room, True)], daemon=True).start()
    with pytest.raises(TooSlow, match="others waited for its place"):
        pieces(stream(ends[0], crowd=crowd), 1000)
    done.set()


def test_nobody_waits_for_a_client_without_patience(ends):
    impatient = stream(ends[0], Patience(0.0, 0.0), Patience(0.0, 0.0))
    with pytest.raises(TooSlow):
        impatient.recv(1)
    with pytest.raises(TooSlow):
        impatient.sendall(MUCH)
