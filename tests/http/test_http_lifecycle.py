"""From SIGTERM to the last process gone."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.engine.deadline import STOPPING
from tests.http import clouds
from tests.http.server import MODEL, Server, descendants, raw_exchange, runs


def num_admitted(server: Server) -> int:
    return server.get("/health").json()["queue"]["requests"]


def test_sigterm_finishes_what_was_admitted_and_leaves_no_process(tmp_path: Path):
    cloud = clouds.npy_of(clouds.json_cloud()["points"])
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(cloud)}\r\n\r\n".encode()
    with (
        Server(tmp_path / "log") as server,
        ThreadPoolExecutor(2) as pool,
        server.wait_ready().connect() as uploading,
        server.connect() as beginning,
    ):
        family = descendants(server.process.pid)
        assert len(family) >= 2  # worker and engine
        uploading.sendall(head + cloud[:20000])
        beginning.sendall(head + cloud[:100])
        while num_admitted(server) == 0:
            pass
        running = pool.submit(server.post, json=clouds.json_cloud())
        while num_admitted(server) == 1 and not running.done():
            pass
        ended = pool.submit(server.stop, limit_s=20)
        while server.get("/health/ready").status_code == 200:
            pass
        assert server.post(json=clouds.json_cloud()).status_code == 503
        status, _, answer = raw_exchange(uploading, cloud[20000:])
        assert (status, json.loads(answer)["labels"]) == (200, clouds.LABELS.tolist())
        assert running.result().json()["labels"] == clouds.LABELS.tolist()
        status, _, answer = raw_exchange(beginning, b"")
        assert (status, json.loads(answer)["detail"]) == (503, STOPPING)
        assert ended.result() == 0
        assert not [pid for pid in family if runs(pid)]


def test_the_log_says_once_where_the_service_is_ready(server: Server):
    lines = server.wait_logged(event=f"ready, open {server.url}")
    assert len(lines) == 1
    assert lines[0]["models"] == [MODEL.name]


def test_web_process_never_loads_torch(server: Server):
    worker = descendants(server.process.pid)[0]
    maps = Path(f"/proc/{worker}/maps").read_text()
    assert "numpy" in maps
    assert "libtorch" not in maps
