"""What web processes cost and how many requests they bear, with devices that sleep in place of networks.

    python -m benchmarks.web_processes [--processes 1 2 4 9] [--engines 8] [--points 1000 200000] [--seconds 5]

starts the service with ``--engines`` engines that answer each batch after ``--sleep-ms`` without computing, for each
number of web processes, and has ``--clients`` of several processes send clouds as fast as they are answered. So no
device bounds the requests a second: cores, readers and web processes do. Writes web-processes-cpu.md into ``--output``.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.clients import closed_loop
from benchmarks.fresh_clouds import NpyClouds
from benchmarks.fresh_sizes import FreshSizes
from benchmarks.process_times import processor_s
from benchmarks.table import Table
from benchmarks.timing import machine
from tests.http.server import Server, descendants

LANES = 4
WARM_UP_S = 1.0
NUM_CLOUDS = 16  # sent again and again: no device could profit from that
KINDS = {"owner": "", "fronts": "front_process", "readers": "reader_process", "engines": "sleeping_engine"}
HEAD = ["points", "web processes", "requests/s", "p50, ms", "owner", "fronts", "readers", "engines"]


class SleepingServer(Server):
    """The service with engines that sleep."""

    def start(self):
        """Start it and return its process."""
        with self.log.open("ab") as stderr:
            command = [sys.executable, "-m", "benchmarks.sleeping_service"]
            return subprocess.Popen(command, cwd=self.root, env={**os.environ, **self.environment}, stderr=stderr)


def load(url: str, points: int, card: dict, num_clients: int, seconds: float) -> list[float]:
    """Seconds of each request of so many clients in this process; raises if one was not answered."""
    made = NpyClouds(points, card, FreshSizes())
    clouds = itertools.cycle([made.take() for _ in range(NUM_CLOUDS)])
    answers = closed_loop(url, lambda: next(clouds), num_clients, seconds)
    if bad := [answer.status for answer in answers if answer.checksum is None]:
        raise RuntimeError(f"requests were answered with {sorted(set(bad))}")
    return [answer.seconds for answer in answers]


def measure(server: Server, points: int, arguments: argparse.Namespace, pool: ProcessPoolExecutor) -> list[str]:
    """The row of one size of cloud; milliseconds of processor are those of a request."""
    card = server.get("/models").json()["models"][0]
    share = max(1, arguments.clients // arguments.client_processes)

    def run(seconds: float) -> list[float]:
        loads = [pool.submit(load, server.url, points, card, share, seconds) for _ in range(arguments.client_processes)]
        return [each for one in loads for each in one.result()]

    run(WARM_UP_S)
    processes = {pid: _kind(pid) for pid in descendants(server.process.pid)}
    before, begin_s = processor_s(processes), time.monotonic()
    times = run(arguments.seconds)
    after, took_s = processor_s(processes), time.monotonic() - begin_s
    each_ms = {kind: 1e3 * (after.get(kind, 0.0) - before.get(kind, 0.0)) / len(times) for kind in KINDS}
    cells = [f"{each_ms[kind]:.2f}" for kind in KINDS]
    return [f"{len(times) / took_s:.0f}", f"{1e3 * statistics.median(times):.1f}", *cells]


def _kind(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_text()
    return next((kind for kind, module in KINDS.items() if module and module in command), "owner")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 9])
    parser.add_argument("--engines", type=int, default=8)
    parser.add_argument("--points", type=int, nargs="+", default=[1000, 200_000])
    parser.add_argument("--sleep-ms", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--client-processes", type=int, default=4)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each row, after a warm-up")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    os.environ["SLEEP_MS"] = str(arguments.sleep_ms)  # for the engines, which get it from the service
    rows = []
    settings = {
        "device": ",".join(["cpu"] * arguments.engines),
        "in_flight": LANES,
        "readers": arguments.readers,
        "queue_requests": 4 * arguments.clients,
        "log_level": "warning",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(arguments.client_processes, get_context("spawn")) as pool,
    ):
        for number in arguments.processes:
            server = SleepingServer(Path(folder) / str(number), web_processes=number, **settings)
            with server:
                server.wait_ready(120)
                server.wait_processes(number)
                for points in arguments.points:
                    row = [f"{points:,}", str(number), *measure(server, points, arguments, pool)]
                    print(" | ".join(row), flush=True)
                    rows.append(row)
    notes = [
        f"{machine()}. {arguments.engines} engines of {LANES} lanes that sleep {arguments.sleep_ms:g} ms a batch, "
        f"{arguments.readers} readers, {arguments.clients} clients of {arguments.client_processes} processes.",
        "Of owner, fronts, readers and engines: milliseconds of processor a request.",
    ]
    table = str(Table("Web processes before devices that sleep", [HEAD, *sorted(rows)], notes))
    print(table)
    if arguments.output:
        (arguments.output / "web-processes-cpu.md").write_text(table)


if __name__ == "__main__":
    main()
