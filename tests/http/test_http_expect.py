"""Clients that send their body only once they are told 100 Continue."""

import json
import socket
from pathlib import Path

import pytest

from tests.http import clouds
from tests.http.server import Server, raw_exchange

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REFUSED = {
    "an unknown option": ("/predict?wat=1", "X-A: b", 400, "wat"),
    "a value that an option does not take": ("/predict?mode=slow", "X-A: b", 400, "slow"),
    "more passes than are made": ("/predict?mode=exact&max_passes=100000", "X-A: b", 400, "max_passes"),
    "no such model": ("/predict?model=nothere", "X-A: b", 404, "nothere"),
    "no such model to infer with": ("/v2/models/nothere/infer", "X-A: b", 404, "nothere"),
    "a body that is too large": ("/predict", "Content-Length: 99999999", 413, "larger"),
    "a page of another site": ("/predict", "Origin: https://example.org", 403, "example.org"),
}


def asking(target: str, header: str = "X-A: b", length: int = 9) -> bytes:
    stated = "" if header.startswith("Content-Length") else f"Content-Length: {length}\r\n"
    return f"POST {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{stated}{header}\r\n\r\n".encode()


def received(connection: socket.socket, num_bytes: int) -> bytes:
    return connection.recv(num_bytes, socket.MSG_WAITALL)


@pytest.mark.parametrize(("target", "header", "status", "word"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_so_before_the_body_is_sent(server: Server, target, header, status, word):
    with server.connect() as connection:
        got, headers, body = raw_exchange(connection, asking(target, header))
        assert (got, headers["connection"]) == (status, "close")
        answer = json.loads(body)
        assert word in (answer.get("detail") or answer["error"])
        assert connection.recv(1) == b""


def test_others_are_told_once_to_send_it(server: Server):
    cloud = clouds.npy()
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(asking("/predict", length=len(cloud)))
            assert received(connection, len(CONTINUE)) == CONTINUE
            status, _, body = raw_exchange(connection, cloud)
            assert (status, json.loads(body)["labels"]) == (200, clouds.LABELS.tolist())


def test_a_body_that_is_not_waited_for_is_taken(server: Server):
    cloud = clouds.npy()
    with server.connect() as connection:
        connection.sendall(asking("/predict", length=len(cloud)) + cloud)
        assert received(connection, len(CONTINUE)) == CONTINUE
        assert raw_exchange(connection, b"")[0] == 200


def test_a_form_is_received_before_its_model_is_looked_for(server: Server):
    form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nnothere\r\n--b--\r\n'
    header = "Content-Type: multipart/form-data; boundary=b"
    with server.connect() as connection:
        connection.sendall(asking("/predict", header, len(form)))
        assert received(connection, len(CONTINUE)) == CONTINUE
        assert raw_exchange(connection, form)[0] == 400


def test_a_small_body_of_another_address_is_asked_for_too(server: Server):
    with server.connect() as connection:
        connection.sendall(asking("/v2/repository/index", length=2))
        assert received(connection, len(CONTINUE)) == CONTINUE
        assert raw_exchange(connection, b"{}")[0] == 200


def test_options_of_a_job_are_looked_at_first(tmp_path: Path):
    with Server(tmp_path / "log", jobs_dir=tmp_path / "jobs") as server, server.wait_ready().connect() as connection:
        status, _, body = raw_exchange(connection, asking("/jobs?wat=1"))
    assert status == 400
    assert "wat" in json.loads(body)["detail"]
