"""The service of this checkout beside that of another, request by request: latency, stages, seconds of processor.

    python -m benchmarks.checkouts ../other [--points 1000000] [--format npy] [--count 15] [--model bundled]

starts both on this machine, with the same settings, and sends them clouds of about the same size in turns; no size
comes twice. Settings of the service, POINTSERVE_*, come from the environment. The libraries of the other checkout must
have been built in their folders. Milliseconds by stage are of the clock; "processor" are the seconds that web process,
readers and engine took, which other work on the machine does not lengthen much.
"""

import argparse
import statistics
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from app.bench.processes import family
from benchmarks.clients import Answered, Connection
from benchmarks.fresh_clouds import LazClouds, NpyClouds
from benchmarks.fresh_sizes import FreshSizes
from benchmarks.process_times import processor_s
from benchmarks.scannet import NETWORKS, experiment
from benchmarks.stages import Staged, stages_ms, with_stages
from benchmarks.table import Table
from benchmarks.timing import deciles, machine
from tests.http.server import ROOT, Server

WARM_UP = 3
PROCESSES = ("web", "readers", "engines")
HEAD = ["checkout", "requests", "p50, ms", "processor, s", *PROCESSES]


def package_paths(root: Path) -> str:
    """The PYTHONPATH by which the packages of the checkout at ``root`` are found first."""
    return ":".join(map(str, [root, *(path.parent for path in root.glob("libs/*/pyproject.toml"))]))


class CheckoutServer(Server):
    """The service of the checkout at ``root``, with its own libraries."""

    def __init__(self, root: Path, log: Path, **settings: object):
        self.root = root.resolve()
        super().__init__(log, **settings)

    def start(self):
        """Start it, so that it finds its own packages first."""
        self.environment["PYTHONPATH"] = package_paths(self.root)
        return super().start()


class Side:
    """One of the two: what it answered, and the seconds of processor that it took for each request."""

    def __init__(self, server: Server, connection: Connection):
        self._connection = connection
        self._engine_pid = server.get("/health").json()["engines"][0]["pid"]
        self.answers: list[Answered] = []
        self.spent_s: list[dict[str, float]] = []

    def ask(self, cloud, counts: bool) -> None:
        """Send one cloud; ``counts`` says whether it is one of those that are shown."""
        before = processor_s(family(self._engine_pid))
        answer = self._connection.ask(cloud)
        after = processor_s(family(self._engine_pid))
        if answer.checksum is None:
            raise RuntimeError(f"a cloud of {cloud.num_points:,} points got status {answer.status}")
        if counts:
            self.answers.append(answer)
            self.spent_s.append({kind: after[kind] - before[kind] for kind in PROCESSES})

    def row(self, name: str) -> list[str]:
        """Of the table of requests."""
        each = [statistics.mean(spent[kind] for spent in self.spent_s) for kind in PROCESSES]
        p50 = deciles([1e3 * answer.seconds for answer in self.answers], 0)
        return [name, str(len(self.answers)), p50, f"{sum(each):.3f}", *(f"{seconds:.3f}" for seconds in each)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--format", choices=("npy", "laz"), default="npy")
    parser.add_argument("--count", type=int, default=15, help="requests to each, after some that do not count")
    parser.add_argument("--model", choices=("bundled", *NETWORKS), default="bundled")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    sizes, count = FreshSizes(), WARM_UP + arguments.count
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        models = "" if arguments.model == "bundled" else experiment(arguments.model, Path(folder))
        roots = {"this": ROOT, str(arguments.other): arguments.other}
        settings = {"device": arguments.device, "models": models, "threads": 0}
        servers = {
            name: stack.enter_context(CheckoutServer(root, Path(folder) / str(number), **settings))
            for number, (name, root) in enumerate(roots.items())
        }
        sides = {
            name: Side(server.wait_ready(600), stack.enter_context(closing(Connection(server.url))))
            for name, server in servers.items()
        }
        (card, *_) = [card for card in servers["this"].get("/models").json()["models"] if card["served"]]
        if arguments.format == "laz":
            clouds = LazClouds(arguments.points, card, sizes, most=2 * count)
        else:
            clouds = NpyClouds(arguments.points, card, sizes)
        for number in range(count):
            for side in list(sides.values())[:: 1 if number % 2 else -1]:
                side.ask(clouds.take(), number >= WARM_UP)
    what = f"{arguments.format.upper()} of about {arguments.points:,} points, {card['name']}"
    note = f"{machine()}. Milliseconds: median (tenth–nine tenths)."
    print(Table(f"Requests, {what}", [HEAD, *(side.row(name) for name, side in sides.items())], [note]))
    stages = [Staged([name], stages_ms(side.answers)) for name, side in sides.items()]
    print(Table("Milliseconds by stage", with_stages(["checkout"], stages)))


if __name__ == "__main__":
    main()
