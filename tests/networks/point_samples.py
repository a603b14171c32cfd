"""Clouds with positions, and what holds for every network that plans for them."""

from pathlib import Path

import torch
from torch import nn

from app.networks.fold import fold
from app.networks.voxel_batch import VoxelBatch
from app.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"
GRID_SIZE_M = 0.05


def make_cloud(seed: int, num_points: int, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Voxels int64 (V, 4) of cloud 0 in no order, and a position float32 (V, 3) in each."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randint(0, side, (num_points, 3), generator=generator).unique(dim=0)
    grid = grid[torch.randperm(len(grid), generator=generator)] - grid.amin(0)
    coord = (grid + torch.rand(grid.shape, generator=generator)) * GRID_SIZE_M
    return torch.cat([torch.zeros(len(grid), 1, dtype=torch.int64), grid], 1), coord


def join(clouds: list[tuple[torch.Tensor, torch.Tensor]], **options) -> VoxelBatch:
    """One batch of several clouds."""
    voxels = [torch.cat([torch.full_like(v[:, :1], number), v[:, 1:]], 1) for number, (v, _) in enumerate(clouds)]
    return VoxelBatch(torch.cat(voxels), torch.cat([coord for _, coord in clouds]), **options)


@torch.inference_mode()
def assert_same_alone_and_beside_others(network: nn.Module, in_channels: int, **options) -> None:
    """To the bit, for clouds of many points, of few and of one, on any number of threads."""
    network, threads = fold(network), torch.get_num_threads()
    clouds = [make_cloud(1, 500), make_cloud(2, 30, side=5), make_cloud(3, 1), make_cloud(4, 200, side=11)]
    features = [torch.randn(len(voxels), in_channels) for voxels, _ in clouds]
    try:
        torch.set_num_threads(1)
        together = network(torch.cat(features), network.plan(join(clouds, **options)))
        together = together.split([len(x) for x in features])
        assert torch.cat(together).isfinite().all()
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            for cloud, x, logits in zip(clouds, features, together, strict=True):
                assert torch.equal(network(x, network.plan(join([cloud], **options))), logits)
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def assert_folding_keeps_answers(network: nn.Module, in_channels: int, **options) -> None:
    """Beyond rounding."""
    batch = join([make_cloud(1, 500), make_cloud(2, 30, side=5)], **options)
    x = torch.randn(len(batch.voxels), in_channels)
    folded = fold(network)
    torch.testing.assert_close(folded(x, folded.plan(batch)), network(x, network.plan(batch)), rtol=1e-3, atol=1e-3)


def assert_golden(name: str) -> None:
    """The case passes."""
    (result,) = verify(GOLDEN / name)
    assert result.verdict == "pass", result
