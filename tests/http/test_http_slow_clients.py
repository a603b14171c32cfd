"""Clients that send or take little, slowly or nothing, and too many of them: everybody else is served meanwhile."""

import json
import os
import resource
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.http import clouds
from tests.http.server import Server, descendants, raw_exchange, runs

PLACES = 4  # and eight threads more
MANY = 40
MAX_CONNECTIONS = 64
LISTEN, TIME_WAIT = "0A", "06"  # states in /proc/net/tcp
HALF = {
    "nothing": b"",
    "half a line": b"POST /pre",
    "half a head": b"POST /predict HTTP/1.1\r\nHost: x\r\nX-A: ",
    "half a body": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n\x93NUMPY",
    "half a chunk": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "a body on demand": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\na",
    "half a form": b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: 100000\r\n\r\n--b\r\n",
    "half a trailer": b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-A: ",
    "half a request for inference": b"POST /v2/models/any/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
    "half a question": b"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
    "a body for nobody": b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
    "a body that is refused": b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
    "half the next request": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nPOST /pre",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of few places and connections, patient with silence."""
    log = tmp_path_factory.mktemp("small") / "stderr.log"
    with Server(log, queue_requests=PLACES, max_connections=MAX_CONNECTIONS, header_timeout_s=2) as started:
        yield started.wait_ready()


def until_idle(server: Server, limit_s: float = 60) -> None:
    """Wait until no connection of an earlier test is open, so that no request has a place either."""
    deadline_s = time.monotonic() + limit_s
    while num_connections(server):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def num_connections(server: Server) -> int:
    """How many connections wait at the server's port or are open there, by the kernel's table."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{server.port:04X}") and row[3] not in (LISTEN, TIME_WAIT) for row in rows)


@contextmanager
def dripping(sockets: list[socket.socket]) -> Iterator[None]:
    """Each of ``sockets`` sends a byte every 0.2 s."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.2):
            for connection in sockets:
                try:
                    connection.send(b"a")
                except OSError:
                    continue

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def until_served(server: Server, limit_s: float = 60) -> requests.Response:
    """The answer to a prediction that comes back when it is told to."""
    deadline_s = time.monotonic() + limit_s
    while (answer := server.post(data=clouds.ply())).status_code == 429:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    return answer


def everything(connection: socket.socket) -> bytes:
    """What the server sends until it ends the connection."""
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def web_pid(server: Server) -> int:
    return descendants(server.process.pid)[0]


@pytest.mark.parametrize("sends", ["nothing more", "a byte now and then"])
@pytest.mark.parametrize("half", HALF.values(), ids=HALF)
def test_slow_clients_keep_nobody_waiting(small: Server, half: bytes, sends: str) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(small.connect()) for _ in range(MANY)]
        for connection in slow:
            connection.sendall(half)
        if sends == "a byte now and then":
            stack.enter_context(dripping(slow))
        for _ in range(3):
            assert small.get("/health/live").status_code == small.get("/v2/health/ready").status_code == 200
            assert small.get("/models").status_code == 200
            assert small.post(data=clouds.ply()).json()["labels"] == clouds.LABELS.tolist()


def test_headers_that_do_not_come_are_408(small: Server) -> None:
    with small.connect() as connection:
        connection.sendall(HALF["half a head"])
        with dripping([connection]):
            answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"application/problem+json" in answer
    assert b"did not arrive within 2 s" in answer
    (line,) = small.wait_logged(event="request", id=json.loads(answer.partition(b"\r\n\r\n")[2])["request_id"])
    assert (line["status"], line["client"], line["level"]) == (408, "127.0.0.1", "info")
    assert "did not arrive within 2 s" in line["detail"]
    assert (line["method"], line["path"]) == ("POST", "/predict")


def test_a_connection_without_a_request_is_closed_without_a_word(small: Server) -> None:
    with small.connect() as connection:
        assert everything(connection) == b""


def test_slow_bodies_give_way_and_are_told(small: Server) -> None:
    until_idle(small)
    with ExitStack() as stack:
        slow = [stack.enter_context(small.connect()) for _ in range(PLACES)]
        for connection in slow:
            connection.sendall(HALF["half a body"] + bytes(20000))  # enough to be given a place
        stack.enter_context(dripping(slow))
        assert until_served(small).status_code == 200
        told, _, _ = select.select(slow, [], [], 30)
        assert told
        for connection in told:
            answer = everything(connection)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"others waited for its place" in answer


def test_slow_body_does_not_give_way_to_requests_that_have_threads(small: Server) -> None:
    begin = b"1 2 3\n" * 4000  # more than the loop waits for, so that it has a thread
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {3 * len(begin)}\r\n\r\n".encode()
    with small.connect() as connection:
        connection.sendall(head + begin)
        until_s = time.monotonic() + 7  # longer than any may be silent while others wait
        while time.monotonic() < until_s:
            assert small.get("/health/live").status_code == 200
            assert small.get("/models").status_code == 200
        assert not select.select([connection], [], [], 0)[0]


def test_slow_takers_give_way(small: Server) -> None:
    cloud = clouds.npy_of(clouds.json_cloud()["points"] * 10)
    path = f"/predict?fields=probabilities,entropy&columns={','.join(clouds.FIELDS)}"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(cloud)}\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(PLACES):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", small.port))
            connection.sendall(head + cloud)
            connection.recv(1)  # its answer is on the way
        assert until_served(small).status_code == 200


def test_requests_that_come_together_are_answered_in_order(small: Server) -> None:
    body = clouds.ply()
    post = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    get = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
    with small.connect() as connection:
        connection.sendall(get % b"health/live" + post + get % b"models" + b"GET /health/re")
        answers = [one_answer(connection) for _ in range(3)]
        assert [status for status, _ in answers] == [200, 200, 200]
        for (_, got), expected in zip(answers, (b'"live"', b'"labels"', b'"models"'), strict=True):
            assert expected in got
        status, _, _ = raw_exchange(connection, b"ady HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status == 200


def one_answer(connection: socket.socket) -> tuple[int, bytes]:
    """One answer and not a byte more."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    length = next(int(line[15:]) for line in data.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(data.split()[1]), body


def test_connections_beyond_the_bound_cost_the_oldest_that_asked_for_nothing(small: Server) -> None:
    with ExitStack() as stack, requests.Session() as kept:
        assert kept.get(small.url + "/health/live").status_code == 200
        idle = [stack.enter_context(small.connect()) for _ in range(100)]
        assert everything(idle[0]) == b""
        assert kept.post(small.url + "/predict", data=clouds.ply()).status_code == 200
        assert small.get("/health/ready").status_code == 200


def test_as_many_connections_as_may_be_stay_open(small: Server) -> None:
    until_idle(small)
    with ExitStack() as stack:
        open_ones = [stack.enter_context(small.connect()) for _ in range(MAX_CONNECTIONS)]
        assert not select.select(open_ones, [], [], 1)[0]


def test_descriptors_that_run_out_are_503_and_survived(small: Server) -> None:
    until_idle(small)  # a connection that closes later would leave its descriptor
    worker = web_pid(small)
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    with small.connect() as connection, requests.Session() as kept:
        kept.get(small.url + "/health/live")
        used = max(int(number) for number in os.listdir(f"/proc/{worker}/fd")) + 1
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used, before[1]))
        try:
            refused = kept.post(small.url + "/predict", data=clouds.ply())
            assert refused.status_code == 503, refused.text
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert int(refused.headers["Retry-After"]) >= 1
            assert small.get("/health/live").status_code == 200  # costs the other connection
            assert everything(connection) == b""
        finally:
            resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    assert small.post(data=clouds.ply()).status_code == 200
    assert web_pid(small) == worker


@pytest.mark.parametrize("num_left", range(1, 26, 4))
def test_descriptors_that_run_out_later_are_survived_too(small: Server, num_left: int) -> None:
    until_idle(small)
    worker = web_pid(small)
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    with requests.Session() as kept:
        kept.get(small.url + "/health/live")
        used = max(int(number) for number in os.listdir(f"/proc/{worker}/fd")) + 1
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + num_left, before[1]))
        try:
            answer = kept.post(small.url + "/predict", data=clouds.ply())
            assert answer.status_code in (200, 503), answer.text
        finally:
            resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    answer = small.post(data=clouds.ply())
    assert answer.status_code == 200, answer.text
    assert web_pid(small) == worker


def test_without_its_master_the_web_process_gives_up_the_port_and_finishes_what_runs(tmp_path: Path) -> None:
    with Server(tmp_path / "log") as server:
        server.wait_ready()
        family = descendants(server.process.pid)
        engine = server.get("/health").json()["engines"][0]["pid"]
        with ThreadPoolExecutor(1) as pool, server.connect() as half:
            half.sendall(HALF["half a head"])
            os.kill(engine, signal.SIGSTOP)
            running = pool.submit(server.post, data=clouds.ply())
            while server.get("/health").json()["queue"]["points"] == 0:
                pass
            server.process.kill()
            server.process.wait()
            wait_for_free_port(server.port)
            os.kill(engine, signal.SIGCONT)
            assert running.result().json()["labels"] == clouds.LABELS.tolist()
        deadline_s = time.monotonic() + 30
        while [pid for pid in family if runs(pid)]:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


def wait_for_free_port(port: int, limit_s: float = 30) -> None:
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
