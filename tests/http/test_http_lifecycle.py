"""From SIGTERM to the last process gone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.http import clouds
from tests.http.server import MODEL, Server, descendants, runs


def test_sigterm_finishes_what_runs_and_leaves_no_process(tmp_path: Path):
    with Server(tmp_path / "log") as server:
        server.wait_ready()
        family = descendants(server.process.pid)
        assert len(family) >= 2  # worker and engine
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(server.post, json=clouds.json_cloud())
            while server.get("/health").json()["queue"]["requests"] == 0 and not running.done():
                pass
            assert server.stop(limit_s=20) == 0
            assert running.result().json()["labels"] == clouds.LABELS.tolist()
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
