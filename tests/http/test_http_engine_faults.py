"""Two engines that are lost in every way, with eight clients in flight: nobody but the guilty input notices."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from app import create_app
from app.settings import Settings
from tests.engine.engine_samples import npz_bytes
from tests.http.server import ROOT, Server

SIZES = range(400, 408)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signs")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Server]:
    """Its engines have the faults of tests/engine/faults, and are soon given up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "tests/engine/faults"), prepend=os.pathsep)
        patch.setenv("FAULT_FOLDER", str(folder))
        log = tmp_path_factory.mktemp("engines") / "stderr.log"
        patience = {"engine_silence_s": 3, "engine_overrun_s": 0.5, "engine_failures": 20}
        with Server(log, device="cpu,cpu", **patience) as started:
            yield started


@pytest.fixture(autouse=True)
def ready(server: Server, folder: Path) -> None:
    """Both engines are."""
    server.wait_ready()
    for file in folder.iterdir():
        file.unlink()
    wait_until(lambda: [engine["state"] for engine in engines(server)] == ["ready", "ready"], 120)


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as clients:
        yield clients


@pytest.fixture(scope="module")
def expected(server: Server) -> dict[int, bytes]:
    server.wait_ready()
    return {size: labels(server, npz_bytes(size)).content for size in SIZES}


def labels(server: Server, data: bytes, **options: object) -> requests.Response:
    return server.post(data=data, params={"output": "npy", **options})


def engines(server: Server) -> list[dict]:
    return server.get("/health").json()["engines"]


def state(server: Server) -> str:
    """Of the service; nothing before it listens."""
    try:
        return server.get("/health").json()["state"]
    except requests.ConnectionError:
        return ""


def restarts(server: Server) -> Counter:
    return sum((Counter(engine["restarts"]) for engine in engines(server)), Counter())


def wait_until(condition: Callable[[], bool], limit_s: float = 30) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def in_flight(server: Server, clients: ThreadPoolExecutor) -> dict[int, Future]:
    return {size: clients.submit(labels, server, npz_bytes(size)) for size in SIZES}


def check(running: dict[int, Future], expected: dict[int, bytes]) -> None:
    assert {size: request.result().status_code for size, request in running.items()} == dict.fromkeys(SIZES, 200)
    assert {size: request.result().content for size, request in running.items()} == expected


def test_engines_killed_within_a_pass(server, folder, clients, expected):
    before = restarts(server)
    slow = clients.submit(labels, server, npz_bytes(500, "wait_for_go"))
    wait_until((folder / "waits").exists)
    running = in_flight(server, clients)
    for engine in engines(server):
        os.kill(engine["pid"], signal.SIGKILL)
    (folder / "go").touch()
    check(running, expected)
    assert slow.result().status_code == 200
    assert slow.result().content == labels(server, npz_bytes(500, "wait_for_go")).content
    wait_until(lambda: restarts(server) - before == {"killed": 2})


def test_engine_that_hangs(server, clients, expected):
    before = restarts(server)
    os.kill(engines(server)[0]["pid"], signal.SIGSTOP)
    check(in_flight(server, clients), expected)
    wait_until(lambda: restarts(server) - before == {"hung": 1})


def test_engine_that_computes_without_end(server, clients, expected):
    before = restarts(server)
    endless = clients.submit(labels, server, npz_bytes(500, "hang"), timeout_s=1)
    check(in_flight(server, clients), expected)
    assert endless.result().status_code == 504
    wait_until(lambda: restarts(server) - before == {"hung": 1})


def test_device_that_breaks(server, folder, clients, expected):
    before = restarts(server)
    first = clients.submit(labels, server, npz_bytes(500, "break_device_once"))
    check(in_flight(server, clients), expected)
    assert first.result().status_code == 200
    assert (folder / "broken").exists()
    wait_until(lambda: restarts(server) - before == {"device": 1})


def test_input_that_kills(server, clients, expected):
    before = restarts(server)
    guilty = clients.submit(labels, server, npz_bytes(600, "kill"))
    check(in_flight(server, clients), expected)
    assert guilty.result().status_code == 422
    known = restarts(server)
    assert 2 <= (known - before)["killed"] <= 3
    again = labels(server, npz_bytes(600, "kill"))
    assert again.status_code == 422
    assert "hash" in again.json()["detail"]
    assert restarts(server) == known


def test_device_without_memory(server, clients, expected):
    before = restarts(server)
    large = clients.submit(labels, server, npz_bytes(4000, "want_all_memory"))
    check(in_flight(server, clients), expected)
    assert large.result().status_code == 503
    assert "POINTSERVE_TILE_VOXELS" in large.result().json()["detail"]
    tiled = server.post(data=npz_bytes(8000, "want_memory", extent_m=6.0))
    assert tiled.status_code == 200
    assert any("tiles" in warning for warning in tiled.json()["warnings"])
    assert restarts(server) == before


def test_pause_says_how_long_it_is_and_the_process_is_alive(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/engine/faults"), prepend=os.pathsep)
    monkeypatch.setenv("FAULT_FOLDER", str(tmp_path))
    (tmp_path / "dies-at-start").touch()
    with Server(tmp_path / "stderr.log", engine_failures=1, engine_pause_s=600) as server:
        wait_until(lambda: state(server) == "paused", 60)
        assert 500 < engines(server)[0]["resumes_in_s"] <= 600
        for answer in (labels(server, npz_bytes(400)), server.get("/health/ready"), server.get("/v2/health/ready")):
            assert answer.status_code == 503
            assert 500 < int(answer.headers["Retry-After"]) <= 600
        for path in ("/health/live", "/v2/health/live"):
            assert server.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/v2/health/live"])
def test_process_that_only_a_restart_helps_is_not_alive(path, monkeypatch):
    client = create_app(Settings()).test_client()
    assert client.get(path).status_code == 200
    monkeypatch.setattr("app.engine.service.Service.is_alive", False)
    assert client.get(path).status_code == 503
