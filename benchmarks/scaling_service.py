"""The service's part of ``benchmarks.scaling``."""

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from app.bench.processes import family
from benchmarks.busy import CELLS, Busy
from benchmarks.client_processes import ClientProcesses
from benchmarks.process_times import processor_s
from benchmarks.service import Subject, serving

PROCESSES = ("web", "fronts", "readers", "engines", "clients")
HEAD = [
    "model",
    "in",
    "points",
    "devices",
    "clients",
    "requests/s",
    "points/s",
    "times one",
    "p50, ms",
    "bad",
    "network",
]
HEAD += ["cores: web", "fronts", "readers", "engines", "clients", *CELLS]


def measure(arguments: argparse.Namespace, folder: Path) -> tuple[list[list[str]], list[str]]:
    """Rows of the table, and notes."""
    rows, skipped = [HEAD], []
    one: dict[tuple[str, str, int], float] = {}
    most = max(arguments.counts)
    with closing(ClientProcesses(most * arguments.client_processes)) as clients:
        for model in arguments.models:
            for count in arguments.counts:
                device = ",".join(devices(arguments.devices, count))
                if time.monotonic() > arguments.end_s:
                    skipped.append(f"{model} on {count}")
                    continue
                with serving(model, device) as subject:
                    for kind, points in loads(arguments):
                        if time.monotonic() > arguments.end_s:
                            skipped.append(f"{model} on {count}: {kind} of {points:,} points")
                            continue
                        clients.prepare(kind, points, subject.card, arguments.laz_points // points)
                        rate, cells = under_load(subject, clients, count, arguments)
                        times = rate / one.setdefault((model, kind, points), rate)
                        label = [model, kind, f"{points:,}", str(count), str(count * arguments.clients)]
                        rows.append([*label, *cells[:2], f"{times:.2f}", *cells[2:]])
                        print(*rows[-1], sep=" | ", flush=True)
    notes = [f"{arguments.seconds:g} s a load, {arguments.clients} clients a device on the same machine."]
    return rows, [*notes, *(f"No time was left for {each}." for each in skipped)]


def devices(kind: str, count: int) -> list[str]:
    """Names of the first ``count``, in the words of the setting."""
    return [f"cuda:{number}" for number in range(count)] if kind == "cuda" else ["cpu"] * count


def loads(arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Formats and points."""
    return ((kind, points) for kind in arguments.formats for points in arguments.points)


def under_load(
    subject: Subject, clients: ClientProcesses, count: int, arguments: argparse.Namespace
) -> tuple[float, list[str]]:
    """Requests a second, and the cells of a row from that on, but "times one"."""
    looked = Looked(subject, clients)
    with looked.machine.watching():
        begin_s = time.monotonic() + arguments.warm_s
        outcomes, end_s = clients.load(
            subject.server.url, count * arguments.clients, arguments.warm_s + arguments.seconds
        )
    end_s = min(end_s, begin_s + arguments.seconds)
    counted = [outcome for outcome in outcomes if begin_s <= outcome.ended_s <= end_s]
    good = [outcome for outcome in counted if outcome.is_good]
    elapsed_s = max(end_s - begin_s, 1e-9)
    busy, cores = looked.since()
    rate = len(good) / elapsed_s
    return rate, [
        f"{rate:.1f}",
        f"{sum(outcome.num_points for outcome in good) / elapsed_s:,.0f}",
        f"{1e3 * statistics.median(outcome.seconds for outcome in good):.0f}" if good else "–",
        str(len(counted) - len(good)),
        " ".join(f"{share:.0%}" for share in busy),
        *(f"{cores.get(kind, 0.0):.1f}" for kind in PROCESSES),
        *looked.machine.shares(begin_s, end_s).cells,
    ]


class Looked:
    """What service, clients and machine had spent when it was made."""

    def __init__(self, subject: Subject, clients: ClientProcesses):
        self.machine = Busy(len(subject.engines))
        self._subject = subject
        self._processes = family(subject.engines[0]["pid"]) | clients.pids
        self._begin_s = time.monotonic()
        self._spent, self._busy_s = self._now()

    def since(self) -> tuple[list[float], dict[str, float]]:
        """Shares of the time in which each engine's network ran, and cores by kind of process."""
        spent, busy_s = self._now()
        elapsed_s = time.monotonic() - self._begin_s
        shares = [(now - was) / elapsed_s for now, was in zip(busy_s, self._busy_s, strict=True)]
        return shares, {kind: (spent[kind] - was) / elapsed_s for kind, was in self._spent.items()}

    def _now(self) -> tuple[Mapping[str, float], list[float]]:
        return processor_s(self._processes), [engine["device_busy_s"] for engine in self._subject.engines]
