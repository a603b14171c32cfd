"""Damaged files of every format: nothing but clouds and problems, no process lost, no growth."""

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.bench.processes import family, memory_bytes
from app.clouds import catalog
from tests.fuzz.seeds import damaged, seeds
from tests.http.server import ROOT, Server, descendants

OF_A_SEED = 300
TO_THE_SERVICE = 20  # of a seed
GROWTH_MIB = 24
CLIENTS_FAULTS = {400, 413, 415, 422}


def test_every_format_that_is_read_has_a_seed():
    assert {seed.format for seed in seeds()} == set(catalog.READERS)


@pytest.mark.slow
@pytest.mark.parametrize("format", catalog.READERS)
def test_damage_ends_as_a_cloud_or_a_problem_within_memory(format):
    """In a process of its own: what must not happen is an abort, a panic, a hang, or gigabytes."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.target", format, str(OF_A_SEED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    for name, found in json.loads(child.stdout).items():
        assert OF_A_SEED / 10 < found["refused"] <= OF_A_SEED, name
        assert found["growth_mib"] < GROWTH_MIB, name


@pytest.mark.slow
def test_service_refuses_what_is_broken_and_loses_no_process_and_no_memory(tmp_path):
    rng = np.random.default_rng(1)
    files = [(seed.format, seed.columns, damaged(seed.data, rng)) for _ in range(TO_THE_SERVICE) for seed in seeds()]
    files += [("kitti", None, rng.bytes(16 * int(rng.integers(1, 5000)))) for _ in range(10 * TO_THE_SERVICE)]
    rng.shuffle(files)
    with Server(tmp_path / "log", max_points=200_000) as server, ThreadPoolExecutor(4) as clients:
        server.wait_ready()

        def ask(item) -> int:
            format, columns, data = item
            options = {"format": format, "columns": ",".join(columns or ())}
            answer = server.post(data=data, params=options)
            assert answer.status_code == 200 or answer.json()["detail"], answer.text
            return answer.status_code

        third = len(files) // 3
        statuses = Counter(clients.map(ask, files[:third]))
        processes, settled = descendants(server.process.pid), held(server)
        statuses += Counter(clients.map(ask, files[third:]))
        assert set(statuses) <= {200} | CLIENTS_FAULTS, statuses
        assert statuses[200] > 20
        assert statuses[422] > 20
        assert descendants(server.process.pid) == processes
        health = server.get("/health").json()
        assert (health["readers_lost"], health["engines"][0]["restarts"], health["quarantined"]) == (0, {}, 0)
        assert {kind: size - settled[kind] for kind, size in held(server).items() if size - settled[kind] > 64} == {}


def held(server: Server) -> dict[str, float]:
    """MiB by kind of process."""
    sizes = memory_bytes(family(server.get("/health").json()["engines"][0]["pid"]))
    return {kind: size / 2**20 for kind, size in sizes.items()}
