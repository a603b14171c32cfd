"""Bodies, clocks and looks at processes that the tests of the engine share."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.engine.body import Body

EXPERIMENT = Path(__file__).parents[1] / "golden/experiments/scannet-semseg-spunet-v1m1-0-base"


def body_of(data: bytes) -> Body:
    return Body.from_stream(io.BytesIO(data), 1 << 30, 1 << 30)


def npy_bytes(num_points: int = 500, num_columns: int = 3, seed: int = 0) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).uniform(0, 3, (num_points, num_columns)))
    return file.getvalue()


def text_bytes(num_points: int) -> bytes:
    return b"1.25 2.5 3.75\n" * num_points


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.002)


def num_open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def reads_a_body(pid: int) -> bool:
    """Whether the process has the body of a request mapped, which it has only while it decodes or encodes."""
    return "memfd:pointserve-body" in Path(f"/proc/{pid}/maps").read_text()
