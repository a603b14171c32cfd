"""What is done to a damaged file: read it, and write an answer into a copy of it. Run as a program, many times.

    python -m tests.fuzz.target laz 300

reads so many damaged files of each seed of a format and prints, as JSON, by seed, how many were refused and by how much
memory grew, in MiB.
"""

import gc
import json
import resource
import sys
from pathlib import Path

import numpy as np

from app.clouds import catalog, formats
from app.errors import Problem
from tests.fuzz.seeds import Seed, damaged, labelled, seeds

MAX_POINTS = 200_000
MEMORY_BYTES = 3 << 30


def read(seed: Seed, data: bytes) -> bool:
    """Whether ``data`` is read, and then written; raises what is neither a cloud nor a fault of the client's."""
    view = memoryview(data)
    try:
        cloud = formats.read(view, format=seed.format, columns=seed.columns, max_points=MAX_POINTS)
        outputs = [seed.format] if seed.format in catalog.WRITERS else []
        outputs += ["copc"] if catalog.keeps_source("copc", cloud.format) else []
        for output in outputs:
            formats.write(output, cloud, labelled(len(cloud)), view)
    except Problem as problem:
        if not 400 <= problem.status < 500:
            raise
        return False
    return True


def main() -> None:
    """Damage the seeds of one format again and again."""
    format, count = sys.argv[1], int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    print(json.dumps({seed.name: hammer(seed, count) for seed in seeds() if seed.format == format}))


def hammer(seed: Seed, count: int) -> dict[str, float]:
    """Files that were refused, and growth over the last two thirds."""
    assert read(seed, seed.data)
    rng = np.random.default_rng(0)
    refused, settled_mib = 0, 0.0
    for number in range(count):
        refused += not read(seed, damaged(seed.data, rng))
        if number == count // 3:
            settled_mib = resident_mib()
    return {"refused": refused, "growth_mib": resident_mib() - settled_mib}


def resident_mib() -> float:
    """Memory of this process once what is unreachable is given back."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
