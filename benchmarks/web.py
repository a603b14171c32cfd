"""What the web process takes of the processor for a request, here and in another checkout.

    python -m benchmarks.web [../other] [--points 1000] [--clients 4] [--count 30] [--rounds 20] [--output FOLDER]

starts the service of each on this machine, with one engine on the processor, and has clients send them clouds in turns:
``--count`` requests to one, then to the other. All that Python does for requests is done in one process, whose threads
take turns: its seconds of processor, by which other work on the machine changes little, bound the requests a second
however many devices there are. Writes web-cpu.md into ``--output``. The libraries of the other checkout must have been
built in their folders.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import cycle, islice
from pathlib import Path

from app.bench.processes import family
from benchmarks.checkouts import CheckoutServer
from benchmarks.clients import Connection
from benchmarks.fresh_clouds import FreshCloud, NpyClouds
from benchmarks.fresh_sizes import FreshSizes
from benchmarks.process_times import processor_s
from benchmarks.table import Table
from benchmarks.timing import deciles, machine
from tests.http.server import ROOT

NUM_CLOUDS = 16
HEAD = ["checkout", "points", "clients", "requests", "web process, ms", "of a round", "requests/s of one core"]


class Side:
    """One of the two: the seconds of processor that its web process took for each round of requests."""

    def __init__(self, server: CheckoutServer, num_clients: int, stack: ExitStack):
        self._processes = family(server.get("/health").json()["engines"][0]["pid"])
        self._connections = [stack.enter_context(closing(Connection(server.url))) for _ in range(num_clients)]
        self._threads = stack.enter_context(ThreadPoolExecutor(num_clients))
        self.rounds_s: list[float] = []

    def run(self, clouds: Sequence[FreshCloud], count: int, counts: bool) -> None:
        """Send ``count`` clouds; ``counts`` says whether they are among those that are shown."""
        before_s = processor_s(self._processes)["web"]
        shares = [count // len(self._connections)] * len(self._connections)
        shares[0] += count - sum(shares)
        list(self._threads.map(lambda connection, share: _ask(connection, clouds, share), self._connections, shares))
        if counts:
            self.rounds_s.append(processor_s(self._processes)["web"] - before_s)


def _ask(connection: Connection, clouds: Sequence[FreshCloud], count: int) -> None:
    for cloud in islice(cycle(clouds), count):
        if connection.ask(cloud).checksum is None:
            raise RuntimeError(f"a cloud of {cloud.num_points:,} points was not answered")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, nargs="?")
    parser.add_argument("--points", type=int, nargs="+", default=[1000])
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--count", type=int, default=30, help="requests of a round")
    parser.add_argument("--rounds", type=int, default=20, help="to each, after one that does not count")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    roots = {"before": arguments.other, "this": ROOT} if arguments.other else {"this": ROOT}
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {
            name: stack.enter_context(CheckoutServer(root, Path(folder) / name, device="cpu", readers=2))
            for name, root in roots.items()
        }
        cards = servers["this"].wait_ready(600).get("/models").json()["models"]
        for points in arguments.points:
            made = NpyClouds(points, cards[0], FreshSizes())
            clouds = [made.take() for _ in range(NUM_CLOUDS)]
            sides = {name: Side(server.wait_ready(600), arguments.clients, stack) for name, server in servers.items()}
            for number in range(1 + arguments.rounds):
                for side in list(sides.values())[:: 1 if number % 2 else -1]:
                    side.run(clouds, arguments.count, number > 0)
            for name, side in sides.items():
                each_ms = [1e3 * seconds / arguments.count for seconds in side.rounds_s]
                mean_ms = statistics.mean(each_ms)
                requests = str(arguments.count * len(each_ms))
                row = [name, f"{points:,}", str(arguments.clients), requests, f"{mean_ms:.2f}"]
                rows.append([*row, deciles(each_ms), f"{1e3 / mean_ms:.0f}"])
    notes = [f"{machine()}.", "Milliseconds of processor a request: mean; median (tenth–nine tenths) of the rounds."]
    table = str(Table("Processor time of the web process", [HEAD, *rows], notes))
    print(table)
    if arguments.output:
        (arguments.output / "web-cpu.md").write_text(table)


if __name__ == "__main__":
    main()
