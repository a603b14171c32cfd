"""Several web processes of one service: the owner of the queue and two fronts."""

import json
import os
import re
import select
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

from tests.http import clouds
from tests.http.server import MODEL, Server, descendants, raw_exchange, runs, stopped_engine, wait_until

PROCESSES = 3
PLACES = 6
POINTS = len(clouds.LABELS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("fronts") / "stderr.log"
    with started(log, queue_requests=PLACES, drain_delay_s=0.2) as server:
        yield server


@contextmanager
def started(log: Path, **settings: object) -> Iterator[Server]:
    with Server(log, web_processes=PROCESSES, readers=2, **settings) as server:
        yield server.wait_ready().wait_processes(PROCESSES)


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * PLACES) as clients:
        yield clients


def owner_of(server: Server) -> int:
    return descendants(server.process.pid)[0]


def fronts_of(server: Server) -> list[int]:
    return [pid for pid in descendants(owner_of(server)) if "front_process" in _command(pid)]


def bodies(pid: int) -> int:
    """Files of requests that a process has open."""
    return sum("pointserve-body" in _target(link) for link in Path(f"/proc/{pid}/fd").iterdir())


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def measures(server: Server) -> dict[str, float]:
    lines = server.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def post(data: bytes, request_id: str, path: str = "/predict") -> bytes:
    """A request as it is on the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {request_id}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def test_answers_and_sums_are_those_of_one_process(server: Server, clients: ThreadPoolExecutor) -> None:
    path = 'pointserve_requests_total{path="/predict",status="200"}'
    model, stage = f'{{model="{MODEL.name}"}}', '{stage="network"}'
    before, statistics = measures(server), f"/v2/models/{MODEL.name}/stats"
    answered = server.get(statistics).json()["model_stats"][0]["inference_count"]
    files = [clouds.ply(), clouds.npy(), json.dumps(clouds.json_cloud()).encode()] * 4

    def ask(data: bytes) -> requests.Response:
        query = "?columns=" + ",".join(clouds.FIELDS) if data.startswith(b"\x93NUMPY") else ""
        while (response := server.post(f"/predict{query}", data=data)).status_code == 429:
            time.sleep(0.05)
        return response

    for response in clients.map(ask, files):
        assert response.status_code == 200, response.text
        assert response.json()["labels"] == clouds.LABELS.tolist()
    after = measures(server)
    assert after[path] - before.get(path, 0) == len(files)
    name = f"pointserve_points_total{model}"
    assert after[name] - before.get(name, 0) == len(files) * POINTS
    count = f"pointserve_stage_seconds_count{stage}"
    assert after[count] - before.get(count, 0) == len(files)
    assert server.get(statistics).json()["model_stats"][0]["inference_count"] == answered + len(files)
    assert after["pointserve_web_processes"] == PROCESSES
    assert after["pointserve_queue_requests"] == after["pointserve_queue_points"] == 0
    assert after['pointserve_request_memory_bytes{kind="used"}'] == 0


def test_predictions_are_spread_over_the_fronts_and_counted_together(
    server: Server, clients: ThreadPoolExecutor
) -> None:
    with stopped_engine(server):
        running = [clients.submit(server.post, "/predict?output=ply", data=clouds.ply()) for _ in range(PLACES)]
        wait_until(server, requests=PLACES, points=PLACES * POINTS)
        assert bodies(owner_of(server)) == 0
        assert [bodies(pid) for pid in fronts_of(server)] == [PLACES // 2] * 2
        held = measures(server)['pointserve_request_memory_bytes{kind="used"}']
        assert held > PLACES * len(clouds.ply())
        refused = [server.post(data=clouds.ply()) for _ in range(4)]
        assert {response.status_code for response in refused} == {429}
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert server.get("/health").json()["refused"]["requests"] >= 4
        assert server.get("/health/live").status_code == 200
    assert [request.result().status_code for request in running] == [200] * PLACES


def test_one_connection_asks_owner_and_fronts_in_turns_even_at_once(server: Server) -> None:
    with server.connect() as connection:
        for number in range(2):
            connection.sendall(post(clouds.ply(), f"turn-{number}") + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = raw_exchange(connection, b"")
            whole = int(headers["content-length"])
            assert (status, headers["x-request-id"]) == (200, f"turn-{number}")
            assert json.loads(body[:whole])["labels"] == clouds.LABELS.tolist()
            if rest := body[whole:]:
                assert rest.startswith(b"HTTP/1.1 200")
            else:
                assert raw_exchange(connection, b"")[0] == 200
        status, _, body = raw_exchange(connection, b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert (status, json.loads(body)["title"]) == (400, "Bad request")
        assert raw_exchange(connection, b"GET /nowhere/predict HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 404
        assert raw_exchange(connection, b"POST /nowhere/predict HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 404


def test_progress_deadline_and_hanging_up_reach_a_request_of_a_front(
    server: Server, clients: ThreadPoolExecutor
) -> None:
    with stopped_engine(server):
        watched = clients.submit(server.post, data=clouds.ply(), headers={"X-Request-Id": "watched"})
        wait_until(server, points=POINTS)
        report = server.get("/progress/watched").json()
        assert (report["stage"], report["received_bytes"]) == ("segment", len(clouds.ply()))
        assert server.get("/progress/nobody").status_code == 204
        assert server.post("/predict?timeout_s=0.5", data=clouds.ply()).status_code == 504
        with server.connect() as connection:
            connection.sendall(post(clouds.ply(slice(701)), "gone"))
            wait_until(server, points=POINTS + 701)
        (line,) = server.wait_logged(id="gone")
        assert line["status"] == 499
        wait_until(server, points=POINTS, requests=1)
    assert watched.result().status_code == 200
    assert server.get("/progress/watched").status_code == 204


def test_engine_that_is_lost_costs_no_front_its_answer(server: Server, clients: ThreadPoolExecutor) -> None:
    with stopped_engine(server) as pid:
        running = [clients.submit(server.post, data=clouds.ply()) for _ in range(PLACES)]
        wait_until(server, points=PLACES * POINTS)
        os.kill(pid, signal.SIGKILL)
        for request in running:
            assert request.result().json()["labels"] == clouds.LABELS.tolist()


def test_model_that_was_unloaded_is_known_to_all_at_once(server: Server) -> None:
    with requests.Session() as session:
        for _ in range(3):
            assert session.post(f"{server.url}/models/{MODEL.name}/unload").status_code == 200
            for _ in range(PROCESSES):
                assert server.post(data=clouds.ply()).status_code == 503
                assert server.post(f"/predict?model={MODEL.name}", data=clouds.ply()).status_code == 404
            assert session.post(f"{server.url}/models/{MODEL.name}/load").status_code == 200
            for _ in range(PROCESSES):
                assert server.post(data=clouds.ply()).status_code == 200


def test_front_that_is_killed_loses_its_own_requests_alone(server: Server, clients: ThreadPoolExecutor) -> None:
    name = 'pointserve_requests_total{path="/predict",status="200"}'
    answered = measures(server).get(name, 0)
    with stopped_engine(server):
        running = [clients.submit(server.post, data=clouds.ply()) for _ in range(PLACES)]
        wait_until(server, points=PLACES * POINTS)
        killed, other = fronts_of(server)
        os.kill(killed, signal.SIGKILL)
        wait_until(server, requests=PLACES // 2)
        refill = [clients.submit(server.post, data=clouds.ply()) for _ in range(PLACES // 2)]
        wait_until(server, requests=PLACES)
    lost = [request for request in running if isinstance(request.exception(), requests.ConnectionError)]
    assert len(lost) == PLACES // 2
    kept = [request.result() for request in [*running, *refill] if request not in lost]
    assert [response.json()["labels"] for response in kept] == [clouds.LABELS.tolist()] * PLACES
    wait_until(server, requests=0, points=0)
    server.wait_processes(PROCESSES)
    assert other in fronts_of(server)
    assert killed not in fronts_of(server)
    after = measures(server)
    assert after[name] == answered + PLACES
    assert after['pointserve_request_memory_bytes{kind="used"}'] == 0
    assert "A web process for predictions was ended by SIGKILL" in server.log.read_text()


def test_fronts_that_stand_still_get_no_more_requests_and_keep_no_probe_waiting(server: Server) -> None:
    stopped = fronts_of(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert server.get("/health/ready").status_code == 200
        assert server.get("/health").status_code == 200
        assert server.get("/metrics").status_code == 200
        deadline_s = time.monotonic() + 30
        while not _is_answered(server):
            assert time.monotonic() < deadline_s
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert server.post(data=clouds.ply()).status_code == 200


def _is_answered(server: Server) -> bool:
    """Whether a prediction is answered within a second."""
    try:
        return requests.post(f"{server.url}/predict", data=clouds.ply(), timeout=1).status_code == 200
    except requests.Timeout:
        return False


def test_owner_that_is_killed_takes_all_along_and_comes_back(server: Server, clients: ThreadPoolExecutor) -> None:
    family = descendants(server.process.pid)
    with stopped_engine(server):
        running = clients.submit(server.post, data=clouds.ply())
        wait_until(server, points=POINTS)
        os.kill(owner_of(server), signal.SIGKILL)
        assert isinstance(running.exception(), requests.ConnectionError)
    deadline_s = time.monotonic() + 30
    while any(runs(pid) for pid in family):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    server.wait_ready().wait_processes(PROCESSES)
    assert server.post(data=clouds.ply()).json()["labels"] == clouds.LABELS.tolist()


def test_sigterm_lets_fronts_answer_what_runs(tmp_path: Path, clients: ThreadPoolExecutor) -> None:
    with started(tmp_path / "log", grace_s=30, drain_delay_s=0.2) as server:
        family = descendants(server.process.pid)
        with stopped_engine(server), server.connect() as kept:
            kept.sendall(post(clouds.ply(), "kept"))
            running = [clients.submit(server.post, data=clouds.ply()) for _ in range(4)]
            wait_until(server, points=5 * POINTS)
            os.kill(server.process.pid, signal.SIGTERM)
            deadline_s = time.monotonic() + 30
            while server.get("/health/ready").status_code != 503:
                assert time.monotonic() < deadline_s
            refused = server.post(data=clouds.ply())
            assert (refused.status_code, refused.json()["detail"]) == (503, "The server is stopping.")
            os.kill(server_engine(family), signal.SIGCONT)
            status, _, _ = raw_exchange(kept, b"")
            assert status == 200
        assert [request.result().status_code for request in running] == [200] * 4
        assert server.process.wait(30) == 0
        assert not [pid for pid in family if runs(pid)]
        assert not re.search(r"Traceback|was ended by|was killed", server.log.read_text())


def server_engine(family: list[int]) -> int:
    return next(pid for pid in family if "app.engine.process" in _command(pid))


def test_rate_of_a_client_is_counted_over_all_processes(tmp_path: Path) -> None:
    with started(tmp_path / "log", rate_limit=PROCESSES, api_keys="") as server:
        answers = [server.post(data=clouds.ply()).status_code for _ in range(2 * PROCESSES)]
        assert answers == [200] * PROCESSES + [429] * PROCESSES
        assert measures(server)['pointserve_rejections_total{reason="rate"}'] == PROCESSES


def test_memory_is_shared_by_all_processes(tmp_path: Path, clients: ThreadPoolExecutor) -> None:
    large = np.repeat(clouds.table(), 40, axis=0)
    data, query = clouds.npy_of(large.tolist()), "/predict?columns=" + ",".join(clouds.FIELDS) + "&output=npy"
    with started(tmp_path / "log", memory_mib=260) as server:
        with stopped_engine(server):
            running = [clients.submit(server.post, query, data=data) for _ in range(4)]
            wait_until(server, requests=4, points=len(large))
            time.sleep(0.5)
            used = measures(server)['pointserve_request_memory_bytes{kind="used"}']
            assert 0 < used <= 260 << 20
            wait_until(server, requests=4, points=len(large))  # the others wait for the memory that it has
        assert [request.result().status_code for request in running] == [200] * 4


def test_connections_of_all_processes_are_bounded_together(tmp_path: Path) -> None:
    with started(tmp_path / "log", max_connections=8) as server, ExitStack() as stack:
        kept: list[socket.socket] = []
        while len(kept) < 8:  # the last one may have to wait until what asked before is gone
            kept.append(stack.enter_context(server.connect()))
            assert raw_exchange(kept[-1], post(clouds.ply(), "kept"))[0] == 200
            kept = [connection for connection in kept if not select.select([connection], [], [], 0)[0]]
        probe = stack.enter_context(server.connect())
        assert raw_exchange(probe, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 200
        closed = select.select(kept, [], [], 0)[0]  # which fronts have had
        assert {connection.recv(1) for connection in closed} == {b""}
        assert len(closed) > 1  # so that a crowd of new ones does not come in one by one
