"""The ball query and the clustering of pointgroup_ops beside brute force in torch and SciPy, on the processor."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pointgroup_ops
import torch
from pointgroup_ops import reference
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from table import Table, print_alone
from timing import by_name, cell, faster
from torch import Tensor

RADIUS_VOXELS = 1.5
BRUTE_FORCE_LIMIT = 20_000
LEAST_POINTS = 50
POINTS = (20_000, 100_000, 200_000)
POINTS_OF_A_THING = 400


def surfaces(num_points: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Voxels of floors and walls, (N, 3) in voxels, and their classes: about nine neighbours each."""
    side = int((num_points / 3) ** 0.5) + 1
    plane = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    planes = [np.insert(plane, axis, 0, axis=1) for axis in range(3)]
    coords = rng.permutation(np.concatenate(planes))[:num_points] + rng.uniform(-0.05, 0.05, (num_points, 3))
    return torch.from_numpy(coords.astype(np.float32)), torch.zeros(num_points, dtype=torch.int32)


def instances(num_points: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Points moved to the middles of their things, (N, 3) in voxels, as PointGroup clusters them, and their classes."""
    things = max(1, num_points // POINTS_OF_A_THING)
    thing = rng.integers(0, things, num_points)
    middles = rng.uniform(0, 12 * things**0.5, (things, 3)) * [1, 1, 0.2]
    coords = middles[thing] + rng.normal(0, 0.8, (num_points, 3))
    return torch.from_numpy(coords.astype(np.float32)), torch.from_numpy(thing % 18).int()


def scipy_clusters(labels: Tensor, idx: Tensor, start_len: Tensor) -> int:
    """Number of components of the graph whose edges join equal labels."""
    idx, starts = idx.numpy(), np.append(start_len[:, 0].numpy(), len(idx))
    same = labels.numpy()[idx] == np.repeat(labels.numpy(), start_len[:, 1].numpy())
    return connected_components(csr_array((same, idx, starts)), directed=False)[0]


def tables(scale: float, repeats: int) -> Iterator[Table]:
    """Of the sizes times ``scale``, the times of ``repeats`` rounds."""
    rng = np.random.default_rng(0)
    scenes = [
        (name, *make(round(num_points * scale), rng))
        for name, make in (("surfaces", surfaces), ("instances", instances))
        for num_points in POINTS
    ]
    measured = [_measure(*scene, repeats) for scene in scenes]
    yield Table(
        f"Ball query, radius {RADIUS_VOXELS} voxels",
        [
            ["scene", "points", "neighbours", "pointgroup_ops", "cKDTree", "faster by", "brute force"],
            *(query for query, _ in measured),
        ],
        [
            "SciPy's tree is built and asked with all threads; it gives lists of all neighbours, ours one array of at "
            "most 1000 each. Brute force is the reference in torch."
        ],
    )
    yield Table(
        f"Clusters of at least {LEAST_POINTS} points",
        [
            ["scene", "points", "clusters", "pointgroup_ops", "SciPy", "faster by"],
            *(clusters for _, clusters in measured),
        ],
        ["From the neighbours above; SciPy: connected components of the graph of equal labels, one thread as ours."],
    )


def _measure(name: str, coords: Tensor, labels: Tensor, repeats: int) -> tuple[list[str], list[str]]:
    """Rows of the two tables."""
    num_points = len(coords)
    clouds = torch.zeros(num_points, dtype=torch.int32), torch.tensor([0, num_points], dtype=torch.int32)
    positions, workers = coords.double().numpy(), torch.get_num_threads()

    def tree() -> Any:
        return cKDTree(positions).query_ball_point(positions, RADIUS_VOXELS, workers=workers, return_sorted=True)

    queries = {"ours": lambda: pointgroup_ops.ballquery_batch_p(coords, *clouds, RADIUS_VOXELS), "tree": tree}
    if num_points <= BRUTE_FORCE_LIMIT:
        queries["brute"] = lambda: reference.ball_query(coords, *clouds, RADIUS_VOXELS)
    times = by_name(queries, repeats)
    neighbours = pointgroup_ops.ballquery_batch_p(coords, *clouds, RADIUS_VOXELS)
    query_row = [name, f"{num_points:,}", f"{len(neighbours[0]) / num_points:.0f}", cell(times["ours"])]
    query_row += [cell(times["tree"]), faster(times["ours"], times["tree"]), cell(times.get("brute"))]

    times = by_name(
        {
            "ours": lambda: pointgroup_ops.bfs_cluster(labels, *neighbours, LEAST_POINTS),
            "scipy": lambda: scipy_clusters(labels, *neighbours),
        },
        repeats,
    )
    clusters = len(pointgroup_ops.bfs_cluster(labels, *neighbours, LEAST_POINTS)[1]) - 1
    cluster_row = [name, f"{num_points:,}", str(clusters), cell(times["ours"]), cell(times["scipy"])]
    return query_row, [*cluster_row, faster(times["ours"], times["scipy"])]


if __name__ == "__main__":
    print_alone(tables, __doc__)
