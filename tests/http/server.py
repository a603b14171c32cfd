"""A real server process for tests, and sockets that misbehave towards it."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

import requests

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests/golden/experiments/scannet-semseg-spunet-v1m1-0-base"
LOCKS: list[IO[str]] = []  # of ports, until the process ends
START = "from app.http.gunicorn import serve; from app.settings import Settings; serve(Settings())"


def free_port() -> int:
    """A port that no other test gets while this process lives.

    It lies below those that the kernel gives away by itself, and is held by a locked file.
    """
    for port in range(20_000, 32_000):
        lock = (Path(tempfile.gettempdir()) / f"pointserve-test-{os.getuid()}-{port}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:  # another test has it, or a program that is no test
            lock.close()
        else:
            LOCKS.append(lock)
            return port
    raise AssertionError("no port is free")


class Server:
    """The service in a process of its own, logging to ``log``; ends with the ``with`` block."""

    root = ROOT  # of the checkout

    def __init__(self, log: Path, **settings: object):
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        values = {"models": MODEL, "port": self.port, "device": "cpu", "threads": 1, "readers": 1} | settings
        self.environment = {f"POINTSERVE_{name.upper()}": str(value) for name, value in values.items()}
        self.log.write_bytes(b"")
        self.process = self.start()

    def start(self) -> subprocess.Popen:
        """Start the service and return its process."""
        with self.log.open("ab") as stderr:
            return subprocess.Popen(
                [sys.executable, "-c", START], cwd=self.root, env={**os.environ, **self.environment}, stderr=stderr
            )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def wait_ready(self, limit_s: float = 120) -> "Server":
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()}"
            try:
                if requests.get(f"{self.url}/health/ready", timeout=10).status_code == 200:
                    return self
            except (requests.ConnectionError, requests.Timeout):
                pass
            time.sleep(0.1)
        raise AssertionError(f"the server was not ready in {limit_s} s:\n{self.log.read_text()}")

    def wait_processes(self, number: int, limit_s: float = 60) -> "Server":
        """Until so many web processes take requests."""
        deadline_s = time.monotonic() + limit_s
        while f"pointserve_web_processes {number}.0" not in self.get("/metrics").text:
            assert time.monotonic() < deadline_s, f"{number} processes were not there:\n{self.log.read_text()}"
            time.sleep(0.05)
        return self

    def wait_logged(self, limit_s: float = 30, **fields: object) -> list[dict[str, object]]:
        """The lines of the log with these values, as soon as there are any: a line may follow its answer."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            whole = [line for line in self.log.read_text().splitlines(keepends=True) if line.startswith("{")]
            lines = [json.loads(line) for line in whole if line.endswith("\n")]
            if found := [line for line in lines if fields.items() <= line.items()]:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no line with {fields} in {limit_s} s:\n{self.log.read_text()}")

    def stop(self, limit_s: float) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit_s)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def post(self, path: str = "/predict", **kwargs: object) -> requests.Response:
        return requests.post(self.url + path, timeout=60, **kwargs)

    def get(self, path: str, **kwargs: object) -> requests.Response:
        return requests.get(self.url + path, timeout=60, **kwargs)


def raw_exchange(connection: socket.socket, data: bytes, *, end: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Send ``data`` (and no more where ``end``), read one answer: status, headers in lower case, body."""
    connection.sendall(data)
    if end:
        connection.shutdown(socket.SHUT_WR)
    head, _, body = _read_until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(lines[0].split()[1]), headers, body


def _read_until(connection: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        chunk = connection.recv(65536)
        assert chunk, f"the server closed the connection after {data!r}"
        data += chunk
    return data


def descendants(pid: int) -> list[int]:
    """Process ids of the children of ``pid``, of theirs, and so on."""
    children = [
        int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
    ]
    return children + [descendant for child in children for descendant in descendants(child)]


def runs(pid: int) -> bool:
    """Whether the process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def engine_pid(server: Server) -> int:
    return server.get("/health").json()["engines"][0]["pid"]


@contextmanager
def stopped_engine(server: Server) -> Iterator[int]:
    pid = engine_pid(server)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        if runs(pid):
            os.kill(pid, signal.SIGCONT)


def wait_until(server: Server, limit_s: float = 30, **queue: int) -> None:
    """Until so many requests and points wait or are being segmented."""
    deadline_s = time.monotonic() + limit_s
    while not queue.items() <= server.get("/health").json()["queue"].items():
        assert time.monotonic() < deadline_s, server.get("/health").json()
        time.sleep(0.02)
