"""Normals estimated on a CUDA device: those of the processor but for what rounds."""

import numpy as np
import pytest
import torch
from pointops import knn_query, neighbour_moments

from app.pipeline.normals import estimate_normals

pytestmark = pytest.mark.gpu


def hills(num_points: int, extent_m: float) -> torch.Tensor:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, extent_m, (2, num_points))
    above_m = np.where(rng.random(num_points) < 0.2, rng.uniform(0, 8, num_points), 0)
    return torch.from_numpy(np.column_stack([x, y, np.sin(x) + above_m]).astype(np.float32))


@pytest.mark.parametrize("num_points", [1, 3, 17, 500_000])
@pytest.mark.parametrize("extent_m", [20.0, 400.0])
def test_normals_are_those_of_the_processor(num_points, extent_m):
    coord = hills(num_points, extent_m)
    here, there = estimate_normals(coord), estimate_normals(coord.cuda()).cpu()
    off = (here - there).abs().amax(1)
    assert (off < 1e-5).float().mean() >= 1 - 1e-4  # a normal at right angles to inwards may have either sign
    assert (torch.minimum(off, (here + there).abs().amax(1)) < 1e-5).float().mean() >= 1 - 1e-5


def test_neighbours_and_their_moments_are_those_of_the_processor_to_the_bit():
    coord, end = hills(100_000, 100.0), torch.tensor([100_000])
    rows, _ = knn_query(16, coord, end)
    there, _ = knn_query(16, coord.cuda(), end.cuda())
    assert torch.equal(there.cpu(), rows)
    here = neighbour_moments(rows, 10, coord, coord)
    assert torch.equal(neighbour_moments(there, 10, coord.cuda(), coord.cuda()).cpu(), here)
