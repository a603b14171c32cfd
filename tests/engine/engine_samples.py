"""Bodies, clocks and looks at processes that the tests of the engine share."""

import gc
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine.answer import Answer
from app.engine.body import Body, Storage
from app.engine.deadline import Deadline
from app.engine.service import Service
from app.options import Mode, Options
from app.settings import Settings

EXPERIMENT = Path(__file__).parents[1] / "golden/experiments/scannet-semseg-spunet-v1m1-0-base"


@contextmanager
def faulty_service(folder: Path, **changes: Any) -> Iterator[Service]:
    """A service of one engine with the faults of faults/sitecustomize.py, whose files are in ``folder``.

    ``changes`` are settings.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "faults"), prepend=os.pathsep)
        patch.setenv("FAULT_FOLDER", str(folder))
        settings = Settings(
            models=str(EXPERIMENT), device="cpu", threads=1, engine_overrun_s=0.5, engine_failures=20, **changes
        )
        service = Service(settings)
        service.start()
        yield service
        service.stop(5.0)


def body_of(data: bytes) -> Body:
    return Body.from_stream(io.BytesIO(data), 1 << 30, Storage(1 << 30))


def npy_bytes(num_points: int = 500, num_columns: int = 3, seed: int = 0) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(seed).uniform(0, 3, (num_points, num_columns)))
    return file.getvalue()


def text_bytes(num_points: int) -> bytes:
    return b"1.25 2.5 3.75\n" * num_points


def within(seconds: float) -> Deadline:
    return Deadline.after(seconds)


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition was not met in time"
        time.sleep(0.002)


def num_open_files() -> int:
    """Of this process, once what earlier tests left to the collector of garbage is gone."""
    gc.collect()
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


FAULTS = [
    "kill",
    "stop",
    "hang",
    "break_device_once",
    "want_memory",
    "want_all_memory",
    "wait_for_go",
    "misbehave",
    "end_thread_once",
]


def npz_bytes(num_points: int, fault: str = "", extent_m: float = 3.0) -> bytes:
    """A cloud that is told by its size, and asks an engine with faults/ in its path for one of them."""
    rng = np.random.default_rng(num_points)
    normal = np.zeros((num_points, 3))
    normal[:, 0] = 101 + FAULTS.index(fault) if fault else 0
    file = io.BytesIO()
    color = rng.integers(0, 256, (num_points, 3)).astype(np.uint8)
    np.savez(file, coord=rng.uniform(0, extent_m, (num_points, 3)), color=color, normal=normal)
    return file.getvalue()


def content(answer: Answer) -> bytes:
    return b"".join(answer.chunks())


def ask(service: Service, data: bytes, timeout_s: float | None = None, mode: Mode = Mode.FAST, **how: object) -> bytes:
    """The labels of a cloud as the bytes of an .npy file."""
    with (
        service.admission.admit(),
        body_of(data) as body,
        service.predict(body, Options(output="npy", timeout_s=timeout_s, mode=mode), **how) as answer,
    ):
        return content(answer)


def engine_pid(service: Service, index: int = 0) -> int:
    pid = service.status().engines[index].pid
    assert pid is not None
    return pid
