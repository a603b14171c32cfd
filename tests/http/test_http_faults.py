"""Lost engines, full queues, clients that stall or leave, a full disk, and an end under load."""

import io
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests

from app import create_app
from app.settings import Settings
from tests.http import clouds
from tests.http.server import MODEL, Server, descendants, raw_exchange, runs, stopped_engine, wait_until

PLACES = 8


@pytest.fixture(scope="module")
def frail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of few places that soon loses patience."""
    log = tmp_path_factory.mktemp("frail") / "stderr.log"
    settings = {"queue_requests": PLACES, "send_stall_s": 1, "spool_memory_mib": 1, "drain_delay_s": 0.2}
    with Server(log, **settings) as started:
        yield started.wait_ready()


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(PLACES) as clients:
        yield clients


def test_engine_killed_under_eight_clients_costs_none_of_them_its_answer(
    frail: Server, clients: ThreadPoolExecutor
) -> None:
    with stopped_engine(frail) as pid:
        running = [clients.submit(frail.post, data=clouds.ply()) for _ in range(PLACES)]
        wait_until(frail, points=PLACES * len(clouds.LABELS))
        os.kill(pid, signal.SIGKILL)
        for request in running:
            assert request.result().status_code == 200, request.result().text
            assert request.result().json()["labels"] == clouds.LABELS.tolist()
    assert frail.get("/health").json()["engines"][0]["restarts"] == {"killed": 1}
    assert f"engine on cpu (process {pid}): The engine process was ended by SIGKILL" in frail.log.read_text()
    frail.wait_ready()


def test_full_queue_answers_at_once_and_so_does_health(frail: Server, clients: ThreadPoolExecutor) -> None:
    with stopped_engine(frail):
        running = [clients.submit(frail.post, data=clouds.ply()) for _ in range(PLACES)]
        wait_until(frail, points=PLACES * len(clouds.LABELS))
        for _ in range(20):
            refused = frail.post(data=clouds.ply())
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) >= 1
        assert frail.get("/health/live").status_code == 200
        assert not any(request.done() for request in running)
    assert [request.result().status_code for request in running] == [200] * PLACES


def test_client_says_how_long_it_waits(frail: Server) -> None:
    with stopped_engine(frail):
        by_option = frail.post("/predict?timeout_s=0.5", data=clouds.ply())
        by_header = frail.post(data=clouds.ply(), headers={"X-Request-Timeout": "0.5"})
        assert (by_option.status_code, by_header.status_code) == (504, 504)
    for given in ("soon", "-1", "nan"):
        assert frail.post(data=clouds.ply(), headers={"X-Request-Timeout": given}).status_code == 400
    assert frail.post("/predict?timeout_s=60", data=clouds.ply()).status_code == 200


def test_client_that_hangs_up_leaves_the_queue(frail: Server) -> None:
    data = clouds.ply(slice(701))
    with stopped_engine(frail):
        with frail.connect() as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-Id: gone\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data)
            wait_until(frail, points=701)
        (line,) = frail.wait_logged(id="gone")
        assert line["status"] == 499
    wait_until(frail, points=0)


def test_client_that_takes_nothing_is_dropped(frail: Server) -> None:
    cloud = clouds.json_cloud()
    data = clouds.npy_of(cloud["points"] * 10)
    worker = descendants(frail.process.pid)[0]
    before = len(os.listdir(f"/proc/{worker}/fd"))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", frail.port))
        path = f"/predict?fields=probabilities,entropy&columns={','.join(clouds.FIELDS)}"
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        frail.wait_logged(event="A client took nothing for 1 s and was dropped.", limit_s=60)
        deadline_s = time.monotonic() + 30
        while len(os.listdir(f"/proc/{worker}/fd")) > before:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


def readers_of(server: Server) -> list[int]:
    return [
        pid for pid in descendants(server.process.pid) if b"reader_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT])
def test_reader_that_is_lost_costs_no_answer(frail: Server, clients: ThreadPoolExecutor, end: signal.Signals) -> None:
    lost = frail.get("/health").json()["readers_lost"]
    text = b"\n".join(b"%d %d 0.5 1 2 3 0 0 1" % (i % 100, i // 100) for i in range(300_000))
    columns = "columns=x,y,z,red,green,blue,nx,ny,nz&output=npy"
    before = readers_of(frail)
    headers = {"Content-Type": "text/plain", "X-Request-Id": f"loses-a-reader-to-{end.name}"}
    asked = clients.submit(frail.post, f"/predict?{columns}", data=text, headers=headers)
    deadline_s = time.monotonic() + 60
    while not (busy := [pid for pid in before if b"(deleted)" in Path(f"/proc/{pid}/maps").read_bytes()]):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.kill(busy[0], end)
    assert asked.result().status_code == 200, asked.result().text
    assert frail.get("/health").json()["readers_lost"] == lost + 1
    (line,) = frail.wait_logged(request_id=headers["X-Request-Id"])
    assert line["level"] == "warning"
    assert str(line["event"]).startswith(f"The reader process {busy[0]} was ")
    assert line["event"].endswith("Another is started.")


@pytest.mark.parametrize("way", ["body", "form", "v2"])
def test_disk_that_is_full_is_no_fault_of_the_client(frail: Server, way: str) -> None:
    worker = descendants(frail.process.pid)[0]
    data = clouds.ply() * 12
    assert len(data) > 1 << 20
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        if way == "v2":
            refused = frail.post(f"/v2/models/{MODEL.name}/infer", data=data)
        else:
            refused = frail.post(**({"data": data} if way == "body" else {"files": {"file": data}}))
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, before)
    assert refused.status_code == 507, refused.text
    assert "no room" in refused.json()["detail"]
    (line,) = frail.wait_logged(event="request", id=refused.json()["request_id"])
    assert (line["level"], line["detail"]) == ("warning", refused.json()["detail"])
    assert frail.post(data=clouds.ply()).status_code == 200


def test_folder_of_large_bodies_that_goes_away_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    with Server(tmp_path / "stderr.log", spool_dir=folder, spool_memory_mib=1) as server:
        server.wait_ready()
        large = clouds.ply() * 12
        folder.rmdir()
        for refused in (
            server.post(data=large),
            server.post(files={"file": large}),
            server.post(f"/v2/models/{MODEL.name}/infer", data=large),
        ):
            assert refused.status_code == 507, refused.text
            assert "POINTSERVE_SPOOL_DIR" in refused.json()["detail"]
            assert refused.headers["Retry-After"]
        assert server.post(data=clouds.ply()).status_code == 200
        folder.mkdir()
        assert server.post(data=large).status_code == 200
        assert server.get("/samples/forest.laz").status_code == 200


def test_memory_of_requests_is_counted_in_bytes(tmp_path: Path) -> None:
    columns = clouds.table()
    named = {"coord": columns[:, :3], "color": columns[:, 3:6].astype("u1"), "normal": columns[:, 6:]}
    further = {f"further{number}": np.zeros((len(columns), 8)) for number in range(25)}
    file = io.BytesIO()
    np.savez_compressed(file, **named, **further)
    with Server(tmp_path / "stderr.log", memory_mib=12, spool_memory_mib=64) as server:
        server.wait_ready()
        assert server.post("/predict?output=npy", data=file.getvalue()).status_code == 200
        refused = server.post("/predict?output=las", data=file.getvalue())  # which keeps all columns
        assert refused.status_code == 413, refused.text
        assert "POINTSERVE_MEMORY_MIB" in refused.json()["detail"]
        large = np.zeros((1_000_000, 9))
        file = io.BytesIO()
        np.save(file, large)
        with ThreadPoolExecutor(4) as threads:
            statuses = {
                answer.status_code for answer in threads.map(lambda _: server.post(data=file.getvalue()), range(4))
            }
        assert statuses == {413}
        tensor = {"name": "coord", "shape": [300_000, 3], "datatype": "FP32", "data": [1.5] * 900_000}
        refused = server.post(f"/v2/models/{MODEL.name}/infer", json={"inputs": [tensor]})
        assert refused.status_code == 413, refused.text
        assert server.post(data=clouds.ply()).status_code == 200


def test_models_are_changed_while_the_service_runs(frail: Server) -> None:
    name = MODEL.name
    unloaded = frail.post(f"/models/{name}/unload").json()
    assert (unloaded["served"], unloaded["memory_bytes"]) == (False, 0)
    assert frail.post(f"/predict?model={name}", data=clouds.ply()).status_code == 404
    assert frail.post(f"/models/{name}/unload").status_code == 404
    assert frail.post("/models/other/load").status_code == 404
    assert frail.post(f"/models/{name}/load").json()["memory_bytes"] > 0
    assert frail.post(f"/models/{name}/reload").json()["served"]
    assert frail.post(data=clouds.ply()).json()["labels"] == clouds.LABELS.tolist()


def test_without_a_model_the_service_is_not_ready_and_says_how_to_load_one(frail: Server) -> None:
    name = MODEL.name
    frail.post(f"/models/{name}/unload")
    try:
        for refused in (
            *(frail.get(path) for path in ("/health/ready", "/v2/health/ready")),
            *(frail.post(path, data=clouds.ply()) for path in ("/predict", "/predict?model=")),
        ):
            assert refused.status_code == 503
            detail = refused.json()["detail"]
            assert detail == f"No model is loaded. POST /models/NAME/load loads one; NAME can be: {name}."
        health = frail.get("/health")
        assert (health.status_code, health.json()["state"]) == (503, "empty")
        assert "pointserve_ready 0.0" in frail.get("/metrics").text
        assert frail.get("/health/live").status_code == frail.get("/v2/health/live").status_code == 200
        unknown = frail.post("/predict?model=nobody", data=clouds.ply())
        assert unknown.status_code == 404
        assert frail.get(f"/v2/models/{name}/ready").status_code == 404
        assert "nobody" in unknown.json()["detail"]
    finally:
        assert frail.post(f"/models/{name}/load").status_code == 200
    assert frail.get("/health/ready").status_code == frail.get("/v2/health/ready").status_code == 200
    assert "pointserve_ready 1.0" in frail.get("/metrics").text
    assert frail.post(data=clouds.ply()).status_code == 200


def test_operator_may_keep_models_as_they_are() -> None:
    client = create_app(Settings(model_control=False)).test_client()
    for verb in ("load", "unload", "reload"):
        answer = client.post(f"/models/any/{verb}")
        assert answer.status_code == 403
        assert "POINTSERVE_MODEL_CONTROL" in answer.json["detail"]


def test_sigterm_under_load_first_says_not_ready_then_finishes_then_ends(
    tmp_path: Path, clients: ThreadPoolExecutor
) -> None:
    with Server(tmp_path / "log") as server:
        server.wait_ready()
        family = descendants(server.process.pid)
        with stopped_engine(server), requests.Session() as kept:
            kept.get(server.url + "/health/live")
            running = [clients.submit(server.post, data=clouds.ply()) for _ in range(4)]
            wait_until(server, points=4 * len(clouds.LABELS))
            server.process.send_signal(signal.SIGTERM)
            deadline_s = time.monotonic() + 10
            while server.get("/health/ready").status_code != 503:
                assert time.monotonic() < deadline_s
            refused = server.post(data=clouds.ply())
            assert refused.status_code == 503
            assert "stopping" in refused.json()["detail"]
            assert server.get("/health").json()["state"] == "stopping"
            assert not any(request.done() for request in running)
        assert [request.result().json()["labels"] for request in running] == [clouds.LABELS.tolist()] * 4
        assert server.process.wait(20) == 0
        assert not [pid for pid in family if runs(pid)]


def test_sigterm_does_not_wait_longer_than_the_grace(tmp_path: Path) -> None:
    with Server(tmp_path / "log", grace_s=1) as server:
        server.wait_ready()
        family = descendants(server.process.pid)
        data = clouds.ply()
        with stopped_engine(server), server.connect() as connection:
            connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode())
            connection.sendall(data)
            wait_until(server, points=len(clouds.LABELS))
            begin_s = time.monotonic()
            assert server.stop(limit_s=30) == 0
            assert time.monotonic() - begin_s < 20
            assert raw_exchange(connection, b"")[0] == 503
        assert not [pid for pid in family if runs(pid)]
