"""A crowd of clients against a running service: latencies, points a second, answers by status.

    python benchmarks/load.py http://localhost:5001 --clients 32 --seconds 60 --points 2000 10000 50000

Each client sends the next cloud as soon as it was answered (a closed loop), and comes back after Retry-After where it
got 429. Clouds are surfaces like those of a scanned room, as .npy with x, y, z. Answers are compared with those that
the same clouds get before the crowd comes. Memory is that of the service's processes, where it runs on this machine.
"""

import argparse
import io
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import requests


@dataclass
class Tally:
    """What one client saw."""

    seconds: list[float] = field(default_factory=list)
    points: int = 0
    statuses: Counter = field(default_factory=Counter)
    wrong: int = 0


def cloud_of(num_points: int, seed: int) -> bytes:
    """Points on the floor and two walls of a room whose size follows their number, 1 cm apart on average."""
    rng = np.random.default_rng(seed)
    side_m = (num_points / 3) ** 0.5 * 0.02
    xyz = rng.uniform(0, side_m, (num_points, 3))
    xyz[np.arange(num_points), rng.integers(0, 3, num_points)] = 0.0
    file = io.BytesIO()
    np.save(file, xyz)
    return file.getvalue()


def ask(session: requests.Session, url: str, data: bytes) -> requests.Response:
    """One prediction, with the labels as .npy."""
    return session.post(f"{url}/predict?output=npy", data=data, timeout=600)


def client(url: str, clouds: list[tuple[int, bytes, bytes]], until_s: float, seed: int, tally: Tally) -> None:
    """Send clouds until ``until_s``."""
    choose = random.Random(seed)
    with requests.Session() as session:
        while time.monotonic() < until_s:
            num_points, data, expected = choose.choice(clouds)
            begin_s = time.monotonic()
            try:
                answer = ask(session, url, data)
            except requests.RequestException as error:
                tally.statuses[type(error).__name__] += 1
                continue
            tally.statuses[answer.status_code] += 1
            if answer.status_code == 429:
                time.sleep(float(answer.headers["Retry-After"]) * choose.uniform(0.2, 1))
            elif answer.status_code == 200:
                tally.seconds.append(time.monotonic() - begin_s)
                tally.points += num_points
                tally.wrong += answer.content != expected


def watch_health(url: str, until_s: float, seconds: list[float]) -> None:
    """How long /health/live takes, asked twice a second on new connections."""
    while time.monotonic() < until_s:
        begin_s = time.monotonic()
        requests.get(f"{url}/health/live", timeout=600).raise_for_status()
        seconds.append(time.monotonic() - begin_s)
        time.sleep(0.5)


def memory_mib(url: str) -> float:
    """Of the engines, as they report it."""
    engines = requests.get(f"{url}/health", timeout=60).json()["engines"]
    return sum(engine["memory"]["used"] for engine in engines) / 2**20


def main() -> None:
    """Run the crowd and print what it saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--points", type=int, nargs="+", default=[2000, 10_000, 50_000])
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    with requests.Session() as session:
        files = [(num_points, cloud_of(num_points, seed)) for num_points in arguments.points for seed in range(3)]
        clouds = []
        for num_points, data in files:
            answer = ask(session, url, data)
            answer.raise_for_status()
            clouds.append((num_points, data, answer.content))
    before_mib = memory_mib(url)
    begin_s = time.monotonic()
    until_s = begin_s + arguments.seconds
    tallies = [Tally() for _ in range(arguments.clients)]
    health_s: list[float] = []
    threads = [
        threading.Thread(target=client, args=(url, clouds, until_s, seed, tally)) for seed, tally in enumerate(tallies)
    ]
    threads.append(threading.Thread(target=watch_health, args=(url, until_s, health_s)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(tallies, time.monotonic() - begin_s, health_s)
    print(f"engine memory: {before_mib:.0f} MiB before, {memory_mib(url):.0f} MiB after")


def report(tallies: list[Tally], elapsed_s: float, health_s: list[float]) -> None:
    """Print one line a figure."""
    seconds = np.array(sorted(second for tally in tallies for second in tally.seconds))
    statuses = sum((tally.statuses for tally in tallies), Counter())
    print(f"clients: {len(tallies)}, {elapsed_s:.0f} s")
    print(f"answers: {', '.join(f'{status}: {count}' for status, count in sorted(statuses.items(), key=str))}")
    print(f"wrong answers: {sum(tally.wrong for tally in tallies)}")
    if len(seconds):
        shares = ", ".join(f"p{share} {np.percentile(seconds, share):.2f} s" for share in (50, 95, 99))
        print(f"latency: {shares}, longest {seconds[-1]:.2f} s")
        points = sum(tally.points for tally in tallies)
        print(f"throughput: {len(seconds) / elapsed_s:.1f} requests/s, {points / elapsed_s:,.0f} points/s")
    print(f"/health/live: longest {max(health_s):.2f} s of {len(health_s)}")


if __name__ == "__main__":
    main()
