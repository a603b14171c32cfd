import os
import resource
import socket

import pytest

from app.http.front.connection import FIRST_BYTES, Connection
from app.http.front.handover import PREDICTIONS, Handover


@pytest.fixture
def client():
    """A client's end, and the connection that the server has of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        sock, address = listener.accept()
        yield ours, Connection(sock, address, listener.getsockname())
        ours.close()
        sock.close()


@pytest.fixture
def ends():
    one, other = Handover.pair()
    ends = one, Handover(other)
    yield ends
    for end in ends:
        end.close()


def test_connection_goes_on_where_it_was(client, ends):
    ours, connection = client
    ours.sendall(b"POST /predict?a=b HTTP/1.1\r\nContent-Length: 4\r\n\r\n\x00\n")
    connection.receive()
    assert connection.posts_to(PREDICTIONS)
    assert ends[0].send(connection)
    connection.sock.close()
    found = ends[1].receive()
    assert (found.address, found.server, found.data) == (connection.address, connection.server, connection.data)
    assert found.has_head
    assert found.lacks_body
    ours.sendall(b"cd")
    found.receive()
    assert found.data.endswith(b"\r\n\r\n\x00\ncd")
    found.sock.sendall(b"yes")
    assert ours.recv(3) == b"yes"
    found.sock.close()
    assert ends[1].receive() is None


@pytest.mark.parametrize("line", [b"GET /predict", b"POST /predict/all", b"POST /jobs?next=/predict", b"x", b""])
def test_other_requests_are_no_predictions(client, line):
    ours, connection = client
    ours.sendall(line + b" HTTP/1.1\r\n\r\n")
    connection.receive()
    assert not connection.posts_to(PREDICTIONS)


def test_other_end_that_is_gone_takes_nothing(client, ends):
    _, connection = client
    ends[1].close()
    assert not ends[0].send(connection)
    with pytest.raises(EOFError):
        ends[0].receive()


def test_crowd_of_connections_with_much_of_their_bodies_finds_room(client, ends):
    ours, connection = client
    ours.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + bytes(FIRST_BYTES))
    while len(connection.data) < FIRST_BYTES:
        connection.receive()
    assert [ends[0].send(connection) for _ in range(16)] == [True] * 16
    for _ in range(16):
        ends[1].receive().sock.close()


def test_end_that_is_full_takes_no_more(client, ends):
    _, connection = client
    count = 0
    while ends[0].send(connection):
        count += 1
        assert count < 10_000
    found = ends[1].receive()
    assert ends[0].send(connection)
    found.sock.close()


def test_connection_is_lost_alone_if_there_are_no_descriptors_left(client, ends):
    _, connection = client
    assert ends[0].send(connection)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    taken = [os.dup(0) for _ in range(highest)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, before[1]))
    try:
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        assert ends[1].receive() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)
    assert ends[0].send(connection)
    ends[1].receive().sock.close()
