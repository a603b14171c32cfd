"""pointops' neighbour queries and farthest point sampling beside SciPy and fpsample, on the processor."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import peers
import pointops
import torch
from scenes import cube, room, sweep
from scipy.spatial import cKDTree
from table import Table, print_alone
from timing import by_name, cell, faster
from torch import Tensor

POINTS = (20_000, 200_000)
SCENES = (("room", room, 0.08), ("sweep", sweep, 0.3), ("cube", cube, 0.03))  # with the radius of a ball, m
NEIGHBOURS = 16
KDLINE_HEIGHTS = (7, 9)  # as fpsample advises for much work
FPSAMPLES = (*(f"kdline h={height}" for height in KDLINE_HEIGHTS), "kdtree")
PLAIN_LIMIT = 20_000


def tables(scale: float, repeats: int) -> Iterator[Table]:
    """Of the sizes times ``scale``, the times of ``repeats`` rounds. Trees are built in the time, as our boxes are."""
    rng = np.random.default_rng(0)
    sizes = [round(size * scale) for size in POINTS]
    scenes = [(name, make(size, rng), radius_m) for size in sizes for name, make, radius_m in SCENES]
    yield Table(
        f"{NEIGHBOURS} nearest neighbours of every point",
        [
            ["scene", "points", "pointops", "cKDTree", "faster by", "error"],
            *(_nearest(name, coords, repeats) for name, coords, _ in scenes),
        ],
        ["cKDTree with as many workers as threads; the error is the largest difference of a distance, in m."],
    )
    yield Table(
        f"Ball query, {NEIGHBOURS} of the points in each ball",
        [
            ["scene", "points", "radius m", "in a ball", "pointops", "cKDTree", "faster by"],
            *(_balls(*scene, repeats) for scene in scenes),
        ],
        ["cKDTree gives lists of all points in the ball."],
    )
    note = "On one thread. Equal: samples that are those of fpsample's plain loop, which rounds otherwise."
    names = [f"fpsample {name}" for name in FPSAMPLES]
    yield Table(
        "Farthest point sampling of a quarter",
        [
            ["scene", "points", "pointops", *names, "faster than the best by", "equal"],
            *(_samples(name, coords, repeats) for name, coords, _ in scenes),
        ],
        [note, *peers.notes("fpsample")],
    )


def _nearest(name: str, coords: Tensor, repeats: int) -> list[str]:
    offset, positions, workers = torch.tensor([len(coords)]), coords.numpy(), torch.get_num_threads()
    times = by_name(
        {
            "ours": lambda: pointops.knn_query(NEIGHBOURS, coords, offset),
            "scipy": lambda: cKDTree(positions).query(positions, NEIGHBOURS, workers=workers),
        },
        repeats,
    )
    distance = pointops.knn_query(NEIGHBOURS, coords, offset)[1]
    expected = cKDTree(positions).query(positions, NEIGHBOURS, workers=workers)[0]
    error = np.abs(distance.numpy() - expected).max()
    ours, scipys = times["ours"], times["scipy"]
    return [name, f"{len(coords):,}", cell(ours), cell(scipys), faster(ours, scipys), f"{error:.0e}"]


def _balls(name: str, coords: Tensor, radius_m: float, repeats: int) -> list[str]:
    offset, positions, workers = torch.tensor([len(coords)]), coords.numpy(), torch.get_num_threads()
    times = by_name(
        {
            "ours": lambda: pointops.ball_query(NEIGHBOURS, radius_m, 0, coords, offset),
            "scipy": lambda: cKDTree(positions).query_ball_point(positions, radius_m, workers=workers),
        },
        repeats,
    )
    lengths = cKDTree(positions).query_ball_point(positions, radius_m, workers=workers, return_length=True)
    ours, scipys = times["ours"], times["scipy"]
    row = [name, f"{len(coords):,}", str(radius_m), f"{lengths.mean():.0f}"]
    return [*row, cell(ours), cell(scipys), faster(ours, scipys)]


def _samples(name: str, coords: Tensor, repeats: int) -> list[str]:
    samples = len(coords) // 4
    offset, new_offset = torch.tensor([len(coords)]), torch.tensor([samples])
    runs: dict[str, Callable[[], Any]] = {"ours": lambda: pointops.farthest_point_sampling(coords, offset, new_offset)}
    if not peers.present("fpsample"):
        ours = by_name(runs, repeats)["ours"]
        return [name, f"{len(coords):,} → {samples:,}", cell(ours), *[peers.MISSING] * (len(FPSAMPLES) + 2)]
    import fpsample

    positions, same = coords.numpy(), "–"
    for peer, height in zip(FPSAMPLES, KDLINE_HEIGHTS, strict=False):
        if 2**height <= len(coords):
            runs[peer] = lambda height=height: fpsample.bucket_fps_kdline_sampling(
                positions, samples, h=height, start_idx=0
            )
    runs["kdtree"] = lambda: fpsample.bucket_fps_kdtree_sampling(positions, samples, start_idx=0)
    if len(coords) <= PLAIN_LIMIT:
        same = f"{(runs['ours']().numpy() == fpsample.fps_sampling(positions, samples, start_idx=0)).mean():.2%}"
    times = by_name(runs, repeats)
    best = faster(times["ours"], min((times[peer] for peer in runs if peer != "ours"), key=statistics.median))
    cells = [cell(times.get(run)) for run in ("ours", *FPSAMPLES)]
    return [name, f"{len(coords):,} → {samples:,}", *cells, best, same]


if __name__ == "__main__":
    print_alone(tables, __doc__)
