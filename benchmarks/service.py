"""A service under load by clouds of sizes that it has not seen before: latency, throughput, stages, load of its GPU.

    python -m benchmarks.service --device cuda [--output FOLDER]

starts the service on this machine with each of ``--models``: "bundled" and "PT-v3m1" (base, with random weights and
Pointcept's procedure for ScanNet). Clients on the same machine send NPY, and LAZ without normals, in a closed loop, and
take NPY. Prints tables in Markdown, the shortest last, and writes service-gpu.md into ``--output``. In the tables

- "new" are clouds of a size that no request before had, "again" those that were answered just before;
- "wrong" are clouds whose answer under load is not the one that they get alone;
- "device busy" is the share of the time in which the network runs, as the service measures it, "NVML" what the
  driver says, the share in which any kernel ran; "cores" are what the service took of the processors;
- "host" is a loop of Python, by which one sees how fast the processor was at that moment.

``benchmarks/scaling.py`` compares several GPUs with one. Other settings of the service, POINTSERVE_*, come from the
environment.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from app.bench.processes import family
from benchmarks.busy import Busy
from benchmarks.clients import Answered, Connection, closed_loop
from benchmarks.fresh_clouds import FreshClouds, LazClouds, NpyClouds
from benchmarks.fresh_sizes import FreshSizes
from benchmarks.process_times import processor_s
from benchmarks.scannet import NETWORKS, experiment
from benchmarks.stages import Staged, stages_ms, with_stages
from benchmarks.table import Table
from benchmarks.timing import deciles, host_ms, machine
from tests.http.server import Server

FORMATS = {"npy": NpyClouds, "laz": LazClouds}
CHECKED = 3
ROOM_PASSES = 256
WARNINGS_SHOWN = 5
LOAD = ["model", "in", "points", "clients", "answers", "other", "wrong", "p50, ms", "p90, ms", "requests/s", "points/s"]
LOAD += ["clouds a pass", "device busy", "NVML", "cores: web", "fronts", "readers", "engines", "host, ms"]
ONE = ["model", "in", "points", "clouds", "new, ms", "again, ms"]
ROOMS = ["model", "points", "passes", "s"]
SHORT = ["model", "in", "points", "p50 of one, ms", "requests/s of {}", "NVML"]


@dataclass
class Tables:
    """Rows of what was measured, and what there was no time for."""

    load: list[list[str]] = field(default_factory=list)
    one: list[Staged] = field(default_factory=list)
    rooms: list[Staged] = field(default_factory=list)
    short: list[list[str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Subject:
    """A service with one model, and the sizes that it has seen."""

    server: Server
    name: str
    card: dict[str, Any]
    sizes: FreshSizes

    @property
    def engines(self) -> list[dict[str, Any]]:
        """As GET /health shows them."""
        return self.server.get("/health").json()["engines"]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--models", nargs="+", choices=("bundled", *NETWORKS), default=["PT-v3m1", "bundled"])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--points", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rooms", type=int, nargs="*", default=[150_000, 400_000], help="points, for mode=exact")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--limit-s", type=float, default=540.0, help="begin nothing later")
    parser.add_argument("--output", type=Path, help="folder for service-gpu.md")
    arguments = parser.parse_args()
    begin_s, tables, where = time.monotonic(), Tables(), machine()
    for model in arguments.models:
        with serving(model, arguments.device) as subject:
            where = f"{subject.engines[0]['device_name']} and {machine()}"
            for kind in arguments.formats:
                for points in arguments.points:
                    if time.monotonic() - begin_s > arguments.limit_s:
                        tables.skipped.append(f"{model}, {kind}, {points:,} points")
                    else:
                        measure(subject, kind, points, arguments, tables)
            for points in arguments.rooms if model in NETWORKS else []:
                if time.monotonic() - begin_s > arguments.limit_s:
                    tables.skipped.append(f"{model}, exact, {points:,} points")
                else:
                    room(subject, points, tables)
    text = written(tables, where, arguments)
    print(text)
    print(Table("In short", [[cell.format(arguments.clients) for cell in SHORT], *tables.short]))
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "service-gpu.md").write_text(text)


@contextmanager
def serving(model: str, device: str) -> Iterator[Subject]:
    """A service with ``model`` on ``device``, which has been asked once."""
    with tempfile.TemporaryDirectory() as folder:
        models = "" if model == "bundled" else experiment(model, Path(folder))
        settings: dict[str, Any] = {"threads": 0, "readers": max(2, (os.cpu_count() or 2) // 4)}
        settings["max_passes"] = ROOM_PASSES
        settings = {name: value for name, value in settings.items() if f"POINTSERVE_{name.upper()}" not in os.environ}
        with Server(Path(folder) / "log", device=device, models=models, **settings) as server:
            server.wait_ready(600)
            (card, *_) = [card for card in server.get("/models").json()["models"] if card["served"]]
            yield Subject(server, model, card, FreshSizes())
            warnings = [line for line in server.log.read_text().splitlines() if '"level": "info"' not in line]
            print(f"{len(warnings)} lines of the service's log are warnings", *warnings[:WARNINGS_SHOWN], sep="\n")


def measure(subject: Subject, kind: str, points: int, arguments: argparse.Namespace, tables: Tables) -> None:
    """One client and many, with clouds of about ``points`` points."""
    label = [subject.name, kind, f"{points:,}"]
    for num_clients in sorted({1, arguments.clients}):
        clouds = FORMATS[kind](points, subject.card, subject.sizes)
        answers, row = load(subject, clouds, num_clients, arguments.seconds)
        tables.load.append([*label, str(num_clients), *row])
        print(*tables.load[-1], sep=" | ", flush=True)
        if num_clients == 1:
            clouds_again = iter([answer.cloud for answer in answers])
            again = closed_loop(subject.server.url, partial(next, clouds_again, None), 1, arguments.seconds)
            tables.one.append(Staged([*label, *whole_ms(answers, again)], stages_ms(answers)))
            tables.short.append([*label, f"{statistics.median(1e3 * answer.seconds for answer in answers):.0f}"])
    tables.short[-1] += [row[5], row[9]]


def whole_ms(answers: Sequence[Answered], again: Sequence[Answered]) -> list[str]:
    """Cells of the table of one request at a time, from the fourth on."""
    return [str(len(answers)), *(deciles([1e3 * answer.seconds for answer in each], 1) for each in (answers, again))]


def load(subject: Subject, clouds: FreshClouds, num_clients: int, seconds: float) -> tuple[list[Answered], list[str]]:
    """Good answers of clients who were answered once before, and cells of the table of loads from the fifth on."""
    url = subject.server.url
    first = iter([clouds.take() for _ in range(num_clients)])
    closed_loop(url, partial(next, first, None), num_clients, seconds)
    engines, passes, machine_busy = subject.engines, clouds_and_passes(subject.server), Busy(len(subject.engines))
    spent, host, begin_s = processor_s(family(engines[0]["pid"])), host_ms(), time.monotonic()
    with machine_busy.watching():
        answers = closed_loop(url, clouds.take, num_clients, seconds)
    end_s = max(answer.ended_s for answer in answers)
    elapsed_s, gpus = end_s - begin_s, machine_busy.shares(begin_s, end_s).gpus
    cores = [(processor_s(family(engines[0]["pid"]))[kind] - was) / elapsed_s for kind, was in spent.items()]
    busy_s = sum(now["device_busy_s"] - was["device_busy_s"] for now, was in zip(subject.engines, engines, strict=True))
    num_clouds, batches = (now - was for now, was in zip(clouds_and_passes(subject.server), passes, strict=True))
    good = [answer for answer in answers if answer.status == 200]
    others = Counter(str(answer.status) for answer in answers if answer.status != 200)
    by_kind = dict(zip(spent, cores, strict=True))
    return good, [
        str(len(good)),
        ", ".join(f"{status}: {count}" for status, count in others.items()) or "–",
        str(wrong(subject, good)),
        *percentiles([1e3 * answer.seconds for answer in good]),
        f"{len(good) / elapsed_s:.1f}",
        f"{sum(answer.cloud.num_points for answer in good) / elapsed_s:,.0f}",
        f"{num_clouds / batches:.1f}" if batches else "–",
        f"{busy_s / elapsed_s / len(engines):.0%}",
        f"{statistics.mean(gpus):.0%}" if gpus else "–",
        *(f"{by_kind.get(kind, 0.0):.1f}" for kind in ("web", "fronts", "readers", "engines")),
        f"{host:.1f}",
    ]


def wrong(subject: Subject, answers: Sequence[Answered]) -> int:
    """How many of the last answers are cut short, or differ from what the cloud gets alone."""
    cut_short = sum(answer.checksum is None for answer in answers)
    with closing(Connection(subject.server.url)) as connection:
        others = sum(connection.ask(answer.cloud).checksum != answer.checksum for answer in answers[-CHECKED:])
    return cut_short + others


def percentiles(milliseconds: Sequence[float]) -> list[str]:
    """Cells of the median and of nine tenths."""
    ordered = sorted(milliseconds) or [float("nan")]
    return [f"{statistics.median(ordered):.0f}", f"{ordered[-1 - len(ordered) // 10]:.0f}"]


def room(subject: Subject, points: int, tables: Tables) -> None:
    """mode=exact of two clouds of about ``points`` points, after a small one."""
    query = f"&mode=exact&max_passes={ROOM_PASSES}"
    clouds = NpyClouds(points, subject.card, subject.sizes)
    with closing(Connection(subject.server.url)) as connection:
        connection.ask(NpyClouds(points // 10, subject.card, subject.sizes).take(), query)
        for answer in [connection.ask(clouds.take(), query) for _ in range(2)]:
            cells = [f"{answer.cloud.num_points:,}", answer.passes or str(answer.status), f"{answer.seconds:.2f}"]
            tables.rooms.append(Staged([subject.name, *cells], stages_ms([answer])))
            print(subject.name, *cells, sep=" | ", flush=True)


def written(tables: Tables, where: str, arguments: argparse.Namespace) -> str:
    """The page of results."""
    note = f"{where}. {arguments.seconds:g} s a load; every cloud has a size of its own, a fifth more or less."
    lines = ["# The service on clouds of sizes never seen before", "", note, ""]
    lines += ["`benchmarks/service.py` says what is what.", ""]
    lines.append(str(Table("Under load", [LOAD, *tables.load])))
    note = "Milliseconds: median (tenth–nine tenths), by stage the median; none is what is in no stage."
    lines.append(str(Table("One request at a time", with_stages(ONE, tables.one), [note])))
    if tables.rooms:
        lines.append(str(Table("mode=exact", with_stages(ROOMS, tables.rooms), ["Milliseconds by stage."])))
    if tables.skipped:
        lines.append(f"No time was left for {'; '.join(tables.skipped)}.\n")
    return "\n".join(lines)


def clouds_and_passes(server: Server) -> tuple[int, int]:
    """Answered so far, and passes that they went through, of all models."""
    models = server.get("/v2/models/stats").json()["model_stats"]
    return sum(each["inference_count"] for each in models), sum(each["execution_count"] for each in models)


if __name__ == "__main__":
    main()
