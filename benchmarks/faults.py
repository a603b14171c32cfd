"""Faults of processes under load: how long nobody is answered meanwhile, and what becomes of the requests.

    python -m benchmarks.faults [FAULT…]     # engine-kill, engine-stop, engine-clouds, engine-memory, models-away …

starts the service on this machine with the bundled model for each, asks it by 8 clients in a closed loop, does the harm
and prints a row of a table. engine-clouds has a small model instead, and engines that some clouds kill; engine-memory
and memory put the service into a memory cgroup of its own, disk-full mounts a small disk; both take root. Other
settings of the service, POINTSERVE_*, come from the environment.
"""

import argparse
import io
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import requests

from app.bench.clouds import Size, made_up
from app.bench.load import Load, LoadLimit, RequestSample
from benchmarks.cgroup import limited
from benchmarks.disk import small_disk
from benchmarks.slow_clients import besiege
from tests.engine.engine_samples import npz_bytes
from tests.http.server import MODEL, ROOT, Server, descendants

BUNDLED = ROOT / "app/bundled"
NUM_CLIENTS = 8
CALM_S = 5.0  # before and after the harm
LIMIT_S = 600.0
HEAD = ["fault", "answered", "other answers", "wrong", "longest without an answer: before", "during", "restarts"]
HEAD += ["who did it was told"]


@dataclass(frozen=True)
class Fault:
    """``harm`` does it to a service under load and returns once that is ready again, with what the guilty were told."""

    what: str
    harm: Callable[[Server, Path], str]
    memory_mib: int = 0
    disk_mib: int = 0
    models: Path = BUNDLED
    module_path: str = ""  # what Python finds first in the processes of the service


def main() -> None:
    """Print a table of the faults that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT")
    print(_row(HEAD), _row(["---"] * len(HEAD)), sep="\n", flush=True)
    for name in parser.parse_args().faults or FAULTS:
        print(_row(measure(FAULTS[name])), flush=True)


def measure(fault: Fault) -> list[str]:
    """The cells of a fault."""
    with tempfile.TemporaryDirectory() as folder, limited(fault.memory_mib) as confine:
        models = Path(folder) / "models"
        shutil.copytree(fault.models, models)
        os.environ["PYTHONPATH"] = fault.module_path
        with (
            small_disk(Path(folder) / "spool", fault.disk_mib) as disk,
            Server(Path(folder) / "log", models=models, device="auto", threads=0, **disk) as server,
        ):
            confine(server.process.pid)
            server.wait_ready(LIMIT_S)
            (card, *_) = server.get("/models").json()["models"]
            load = Load(server.url, "", [cloud for _ in range(NUM_CLIENTS) for cloud in made_up(Size(5000), card)])
            with under_load(load):
                time.sleep(CALM_S)
                begin = time.monotonic()
                told = fault.harm(server, models)
                wait_until(lambda: server.get("/health/ready").status_code == 200)
                end = time.monotonic()
                time.sleep(CALM_S)
            restarts = Counter(server.get("/health").json()["engines"][0]["restarts"])
        others = Counter(sample.status for sample in load.samples if sample.status != 200)
        return [
            fault.what,
            str(sum(sample.status == 200 for sample in load.samples)),
            ", ".join(f"{status}: {count}" for status, count in others.items()) or "none",
            str(sum(not sample.is_right for sample in load.samples)),
            f"{silence_s(load.samples, 0.0, begin):.1f} s",
            f"{silence_s(load.samples, begin, end + CALM_S):.1f} s",
            ", ".join(f"{kind}: {count}" for kind, count in restarts.items()) or "none",
            told or "–",
        ]


def silence_s(samples: list[RequestSample], begin: float, end: float) -> float:
    """The longest time between two good answers, if the later one came from ``begin`` to ``end``."""
    times = sorted(sample.ended for sample in samples if sample.status == 200)
    return max((later - earlier for earlier, later in pairwise(times) if begin <= later <= end), default=0.0)


@contextmanager
def under_load(load: Load) -> Iterator[None]:
    """``NUM_CLIENTS`` clients ask until the end of the block."""
    limit = LoadLimit(LIMIT_S, None)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(load.closed, NUM_CLIENTS, limit)
        try:
            yield
        finally:
            limit.stop()


def kill(server: Server, models: Path) -> str:
    """Five times, as soon as it is ready again."""
    for count in range(1, 6):
        os.kill(engine(server)["pid"], signal.SIGKILL)
        wait_until(lambda count=count: engine(server)["restarts"].get("killed") == count and is_ready(server))
        time.sleep(CALM_S)
    return ""


def stop(server: Server, models: Path) -> str:
    """By SIGSTOP: it neither computes nor ends."""
    os.kill(engine(server)["pid"], signal.SIGSTOP)
    wait_until(lambda: engine(server)["restarts"].get("hung") == 1 and is_ready(server))
    return ""


def send_killers(server: Server, models: Path) -> str:
    """Four different clouds at once; the engine is killed with each."""
    return _told(server, [npz_bytes(600 + number, "kill") for number in range(4)])


def fill_memory(server: Server, models: Path) -> str:
    """Four different clouds at once, each too large for the memory that there is."""
    points = np.random.default_rng(0).uniform(0, 1, (2_000_000, 3)) * (700, 700, 10)
    files = [io.BytesIO() for _ in range(4)]
    for number, file in enumerate(files):
        np.save(file, points + number)
    return _told(server, [file.getvalue() for file in files])


def _told(server: Server, bodies: list[bytes]) -> str:
    """The statuses that these clouds were answered, sent at once."""

    def ask(body: bytes) -> int:
        return requests.post(f"{server.url}/predict", data=body, timeout=LIMIT_S).status_code

    with ThreadPoolExecutor(len(bodies)) as clients:
        statuses = Counter(clients.map(ask, bodies))
    return ", ".join(f"{status}: {count}" for status, count in statuses.items())


def take_models_away(server: Server, models: Path) -> str:
    """For 10 s, in which the engine is lost."""
    away = models.with_name("away")
    models.rename(away)
    os.kill(engine(server)["pid"], signal.SIGKILL)
    time.sleep(10.0)
    away.rename(models)
    return ""


def send_slowly(server: Server, models: Path) -> str:
    """Three hundred clients, for 20 s."""
    besiege(("127.0.0.1", server.port), 300, 20.0)
    return ""


def kill_readers(server: Server, models: Path) -> str:
    """One of them, drawn again, thirty times."""
    rng = random.Random(0)
    for _ in range(30):
        with suppress(ProcessLookupError, IndexError):
            os.kill(rng.choice(readers(server)), signal.SIGKILL)
        time.sleep(0.7)
    return ""


def stop_readers(server: Server, models: Path) -> str:
    """All of them, by SIGSTOP."""
    stopped = readers(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not set(stopped) & set(readers(server)))
    return ""


def send_zips(server: Server, models: Path) -> str:
    """Twelve at once that unpack to 160 MiB each, once without and once with their further columns."""
    points = np.random.default_rng(0).uniform(0, 1, (400_000, 3)) * (300, 300, 10)
    file = io.BytesIO()
    further = {f"further{number}": np.zeros(400_000) for number in range(50)}
    np.savez_compressed(file, coord=points.round(1), **further)

    def ask(output: str) -> str:
        url = f"{server.url}/predict?output={output}"
        return str(requests.post(url, data=file.getvalue(), timeout=LIMIT_S).status_code)

    with ThreadPoolExecutor(12) as clients:
        statuses = Counter(clients.map(ask, ["npy", "las"] * 6))
    return ", ".join(f"{status}: {count}" for status, count in statuses.items())


def fill_disk(server: Server, models: Path) -> str:
    """With a file of others; then a cloud of 12 MB as NPY, and once more when the file is gone."""
    points = io.BytesIO()
    np.save(points, np.random.default_rng(0).uniform(0, 1, (500_000, 3)) * (40, 40, 2))
    file = Path(server.environment["POINTSERVE_SPOOL_DIR"]) / "full"
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while stream.write(bytes(1 << 16)):
            pass
    full = _told(server, [points.getvalue()])
    file.unlink()
    return f"{full}, then {_told(server, [points.getvalue()])}"


def terminate(server: Server, models: Path) -> str:
    """By SIGTERM, as an update does; then the service is started again."""
    begin = time.monotonic()
    code = server.stop(LIMIT_S)
    told = f"ended after {time.monotonic() - begin:.1f} s with exit code {code}"
    server.process = server.start()
    server.wait_ready(LIMIT_S)
    return told


def readers(server: Server) -> list[int]:
    """Process ids of the readers."""
    command = b"app.engine.reader_process"
    found = []
    for pid in descendants(server.process.pid):
        with suppress(OSError):
            if command in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def engine(server: Server) -> dict:
    """What /health says of it."""
    return server.get("/health").json()["engines"][0]


def is_ready(server: Server) -> bool:
    """Whether the engine is."""
    return engine(server)["state"] == "ready"


def wait_until(condition: Callable[[], bool]) -> None:
    """Look every tenth of a second; raises TimeoutError after ``LIMIT_S``."""
    until = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"the service did not recover in {LIMIT_S:g} s")
        time.sleep(0.1)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


FAULTS = {
    "engine-kill": Fault("`kill -9` of the engine, five times", kill),
    "engine-stop": Fault("`kill -STOP` of the engine", stop),
    "engine-clouds": Fault(
        "four clouds, the engine killed with each",
        send_killers,
        models=MODEL,
        module_path=str(ROOT / "tests/engine/faults"),
    ),
    "engine-memory": Fault("four clouds that need more memory than there is (1,200 MiB)", fill_memory, 1200),
    "models-away": Fault("the folder of models is away for 10 s while the engine is killed", take_models_away),
    "slow-clients": Fault("300 clients that send nothing, or a byte now and then, for 20 s", send_slowly),
    "reader-kill": Fault("`kill -9` of a reader every 0.7 s, thirty times", kill_readers),
    "reader-stop": Fault("`kill -STOP` of all readers", stop_readers),
    "disk-full": Fault("the disk of `SPOOL_DIR` is full when a large body comes", fill_disk, disk_mib=40),
    "term": Fault("SIGTERM, and a start when all has ended", terminate),
    "memory": Fault("twelve zips of many columns at once (1,500 MiB)", send_zips, 1500),
}


if __name__ == "__main__":
    main()
