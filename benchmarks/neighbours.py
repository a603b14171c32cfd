"""Times pointops' neighbour queries and farthest point sampling beside SciPy and, where it is installed, fpsample.

python benchmarks/neighbours.py > benchmarks/results/neighbours-cpu.md
"""

import importlib.util
import statistics
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pointops
import scipy
import torch
from scenes import cube, room, sweep
from scipy.spatial import cKDTree
from timing import by_name, cell, faster, machine
from torch import Tensor

ROUNDS = 7
NEIGHBOURS = 16
KDLINE_HEIGHTS = (7, 9)  # as fpsample advises for much work
PLAIN_LIMIT = 20_000
FPSAMPLE = importlib.util.find_spec("fpsample") is not None


def measure_queries(name: str, coords: Tensor, radius_m: float) -> tuple[str, str]:
    """Rows of the tables of nearest neighbours and of balls. Trees are built anew in every run, as our boxes are."""
    offset, positions, workers = torch.tensor([len(coords)]), coords.numpy(), torch.get_num_threads()
    times = by_name(
        {
            "ours": lambda: pointops.knn_query(NEIGHBOURS, coords, offset),
            "scipy": lambda: cKDTree(positions).query(positions, NEIGHBOURS, workers=workers),
        },
        ROUNDS,
    )
    distance = pointops.knn_query(NEIGHBOURS, coords, offset)[1]
    expected = cKDTree(positions).query(positions, NEIGHBOURS, workers=workers)[0]
    error = np.abs(distance.numpy() - expected).max()
    nearest = f"| {name} | {len(coords):,} | {cell(times['ours'])} | {cell(times['scipy'])} | "
    nearest += f"{faster(times['ours'], times['scipy'])} | {error:.0e} |"

    times = by_name(
        {
            "ours": lambda: pointops.ball_query(NEIGHBOURS, radius_m, 0, coords, offset),
            "scipy": lambda: cKDTree(positions).query_ball_point(positions, radius_m, workers=workers),
        },
        ROUNDS,
    )
    lengths = cKDTree(positions).query_ball_point(positions, radius_m, workers=workers, return_length=True)
    balls = f"| {name} | {len(coords):,} | {radius_m} | {lengths.mean():.0f} | {cell(times['ours'])} | "
    return nearest, balls + f"{cell(times['scipy'])} | {faster(times['ours'], times['scipy'])} |"


def measure_sampling(name: str, coords: Tensor) -> str:
    """Row of the table of farthest point sampling, a quarter of the points."""
    samples, positions = len(coords) // 4, coords.numpy()
    offset, new_offset = torch.tensor([len(coords)]), torch.tensor([samples])
    runs: dict[str, Callable[[], Any]] = {"ours": lambda: pointops.farthest_point_sampling(coords, offset, new_offset)}
    same = "–"
    if FPSAMPLE:
        import fpsample

        for height in KDLINE_HEIGHTS:
            runs[f"kdline {height}"] = lambda height=height: fpsample.bucket_fps_kdline_sampling(
                positions, samples, h=height, start_idx=0
            )
        runs["kdtree"] = lambda: fpsample.bucket_fps_kdtree_sampling(positions, samples, start_idx=0)
        if len(coords) <= PLAIN_LIMIT:
            same = f"{(runs['ours']().numpy() == fpsample.fps_sampling(positions, samples, start_idx=0)).mean():.2%}"
    times = by_name(runs, ROUNDS)
    others = {peer: times[peer] for peer in times if peer != "ours"}
    best = faster(times["ours"], min(others.values(), key=statistics.median)) if others else "–"
    peers = [cell(times.get(peer)) for peer in (*(f"kdline {height}" for height in KDLINE_HEIGHTS), "kdtree")]
    return f"| {name} | {len(coords):,} → {samples:,} | {cell(times['ours'])} | {' | '.join(peers)} | {best} | {same} |"


def main() -> None:
    """Prints the tables."""
    rng = np.random.default_rng(0)
    scenes = [
        (name, make(num_points, rng), radius_m)
        for num_points in (20_000, 200_000)
        for name, make, radius_m in (("room", room, 0.08), ("sweep", sweep, 0.3), ("cube", cube, 0.03))
    ]
    queries = [measure_queries(*scene) for scene in scenes]
    sampling = [measure_sampling(name, coords) for name, coords, _ in scenes]
    fpsample_version = f", fpsample {version('fpsample')}" if FPSAMPLE else ""
    print("# Neighbours and samples on the CPU\n")
    print(
        f"{machine()}, SciPy {scipy.__version__}{fpsample_version}. Milliseconds: median of {ROUNDS} rounds in "
        f"turns (least–most); all trees are built in the time. `python benchmarks/neighbours.py`\n"
    )
    print(f"## {NEIGHBOURS} nearest neighbours of every point\n")
    print("cKDTree with as many workers as threads; the error is the largest difference of a distance, in m.\n")
    print("| scene | points | pointops | cKDTree | faster by | error |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    print(*(nearest for nearest, _ in queries), sep="\n")
    print(f"\n## Ball query, {NEIGHBOURS} of the points in each ball\n")
    print("cKDTree gives lists of all points in the ball.\n")
    print("| scene | points | radius m | in a ball | pointops | cKDTree | faster by |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(*(balls for _, balls in queries), sep="\n")
    print("\n## Farthest point sampling of a quarter\n")
    print("On one thread. Equal: samples that are those of fpsample's plain loop, which rounds otherwise.\n")
    names = [f"fpsample kdline h={height}" for height in KDLINE_HEIGHTS]
    print(f"| scene | points | pointops | {' | '.join(names)} | fpsample kdtree | faster than the best by | equal |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(*sampling, sep="\n")


if __name__ == "__main__":
    main()
