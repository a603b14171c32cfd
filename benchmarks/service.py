"""Requests and points a second of a service by size of cloud and number of clients, and how busy its device is.

    python -m benchmarks.service --device cuda

starts the service on this machine with the bundled model, or ``--models``, puts it under load by ``app.bench``, a
closed loop for each pair, and prints a table. Other settings of it, POINTSERVE_*, come from the environment. "device
busy" is the share of the time in which plan and network run, as the service measures it; "NVML" what the driver says,
the share in which any kernel ran.
"""

import argparse
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.bench.clouds import Size, made_up
from app.bench.figures import Figures, figures
from app.bench.load import Load, LoadLimit
from app.bench.watch import Watch
from tests.http.server import Server

HEAD = ["points", "clients", "answers", "other", "p50", "p99", "requests/s", "points/s", "clouds a pass"]
HEAD += ["has clouds", "device busy", "NVML", "outside network"]


def main() -> None:
    """Print what runs where, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", default="")
    parser.add_argument("--points", type=int, nargs="+", default=[2_000, 20_000, 200_000, 1_000_000])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--readers", type=int, default=max(2, (os.cpu_count() or 2) // 4))
    arguments = parser.parse_args()
    settings = {"device": arguments.device, "models": arguments.models, "readers": arguments.readers, "threads": 0}
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "log", **settings) as server:
        server.wait_ready(600)
        (card, *_) = [card for card in server.get("/models").json()["models"] if card["served"]]
        engine = server.get("/health").json()["engines"][0]
        processor = platform.processor() or platform.machine()
        print(
            f"{engine['device']} {engine['device_name']}, {processor} with {os.cpu_count()} cores, "
            f"{engine['threads']} threads, {arguments.readers} readers; {card['name']}, voxels of "
            f"{card['grid_size_m']} m; {arguments.seconds:g} s each.\n"
        )
        print(_row(HEAD), _row(["---"] * len(HEAD)), sep="\n", flush=True)
        for num_points in arguments.points:
            for num_clients in arguments.clients:
                load = Load(server.url, "", made_up(Size(num_points), card))
                cells = measure(load, num_clients, arguments.seconds, server)
                print(_row([f"{num_points:,}", str(num_clients), *cells]), flush=True)


def measure(load: Load, num_clients: int, seconds: float, server: Server) -> list[str]:
    """Cells of one row, from the third."""
    watch, used = Watch(server.url, ""), []
    passes = clouds_and_passes(server)
    begin_s = time.monotonic()
    with watch.watching(), utilisation(used):
        load.closed(num_clients, LoadLimit(seconds, None))
        elapsed_s = time.monotonic() - begin_s
    clouds, batches = (after - before for after, before in zip(clouds_and_passes(server), passes, strict=True))
    found: Figures = figures(load.samples, elapsed_s, watch)
    others = {status: count for status, count in found["statuses"].items() if status != "200"}
    return [
        str(found["answers"]),
        ", ".join(f"{status}: {count}" for status, count in others.items()) or f"{found['wrong']} wrong",
        f"{found['p50_s']:.3f} s",
        f"{found['p99_s']:.3f} s",
        f"{found['requests_a_s']:.1f}",
        f"{found['points_a_s']:,.0f}",
        f"{clouds / batches:.1f}" if batches else "–",
        f"{sum(engine['busy'] for engine in found['engines']):.0%}",
        f"{sum(engine['device_busy'] for engine in found['engines']):.0%}",
        f"{statistics.mean(used):.0f}%" if used else "–",
        f"{found['outside_network']:.0%}",
    ]


def clouds_and_passes(server: Server) -> tuple[int, int]:
    """Answered so far, and passes that they went through, of all models."""
    models = server.get("/v2/models/stats").json()["model_stats"]
    return sum(each["inference_count"] for each in models), sum(each["execution_count"] for each in models)


@contextmanager
def utilisation(percents: list[int]) -> Iterator[None]:
    """Gathers what the driver says of the first GPU, where there is one."""
    over = threading.Event()

    def look() -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        while not over.wait(0.25):
            percents.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
