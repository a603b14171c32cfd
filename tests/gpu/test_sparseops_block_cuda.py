"""Calls of several operators on a CUDA device: the bits of the operators, or within the rounding that is left out."""

import pytest
import torch
from effort import rows
from sparseops import (
    AttentionBlock,
    AttentionBlocks,
    BatchNormWeights,
    KernelMap,
    LinearWeights,
    NormWeights,
    PoolingStep,
    ResidualBlock,
    ResidualBlocks,
    UnpoolingStep,
    block,
    pack_weight,
    steps,
    submanifold_map,
)
from sparseops_samples import voxels

pytestmark = pytest.mark.gpu
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2**-8, torch.bfloat16: 2**-5}


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(dtype: torch.dtype, out_channels: int, in_channels: int, size: int = 1) -> LinearWeights:
    weight = normal(out_channels, out_channels, size, size, size, in_channels) / (size**3 * in_channels) ** 0.5
    return LinearWeights(pack_weight(weight.to(dtype).cuda()), normal(2, out_channels).cuda())


def attention_block(dtype: torch.dtype, channels: int) -> AttentionBlock:
    norms = [NormWeights(*(normal(seed, channels).to(dtype).cuda() for seed in (n, n + 3)), 1e-5) for n in range(3)]
    last = (linear(dtype, 4 * channels, channels), linear(dtype, channels, 4 * channels))
    first = (linear(dtype, channels, channels, 3), *norms[:2], linear(dtype, 3 * channels, channels))
    return AttentionBlock(*first, linear(dtype, channels, channels), norms[2], *last)


def geometry() -> tuple[KernelMap, KernelMap]:
    coords = voxels(1, rows(4000), 24)
    places = torch.randperm(len(coords)).int()
    into = KernelMap(torch.cat([places, places[:9]])[None], places.long().argsort().int()[None])
    return submanifold_map(coords, 3).to("cuda"), into.to("cuda")


@pytest.fixture
def apart(monkeypatch):
    """Has what is called after it run operator by operator."""

    def apply():
        for module in (block, steps):
            monkeypatch.setattr(module, "has_kernel", lambda tensor: False)

    return apply


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [32, 64, 256])
def test_a_block_gives_the_bits_of_its_operators(channels, dtype, apart):
    own, (kernel_map, into) = attention_block(dtype, channels), geometry()
    x, positional = (normal(seed, kernel_map.num_in, channels).to(dtype).cuda() for seed in (7, 8))

    def run() -> list[torch.Tensor]:
        summed, qkv = own.before(x, positional, kernel_map, into)
        return [summed, qkv, own.after(qkv[:, :channels].contiguous(), summed, into.inverse())]

    found = run()
    apart()
    assert all(torch.equal(one, other) for one, other in zip(found, run(), strict=True))


@pytest.mark.parametrize("cast", [None, torch.bfloat16])
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [32, 64, 256])
def test_blocks_give_the_bits_of_their_operators(channels, dtype, cast, apart):
    kernel_map, into = geometry()
    cu_seqlens = torch.tensor([0, 48, 96, into.num_out - 7, into.num_out], dtype=torch.int32, device="cuda")
    blocks = AttentionBlocks((attention_block(dtype, channels),) * 2, channels // 16, (0.25, 0.2), cast)
    x, positional = (normal(seed, kernel_map.num_in, channels).to(dtype).cuda() for seed in (7, 8))
    given = (x, positional, kernel_map, [(into, cu_seqlens)] * 2)
    found = blocks.run(*given)
    apart()
    assert torch.equal(found, blocks.run(*given))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [32, 96, 256])
def test_residual_blocks_give_the_bits_of_their_operators(channels, dtype, apart):
    kernel_map, _ = geometry()
    projected = ResidualBlock(
        linear(dtype, channels, 40, 3), linear(dtype, channels, channels, 3), linear(dtype, channels, 40)
    )
    blocks = ResidualBlocks((projected, ResidualBlock(projected.conv2, projected.conv2)))
    x = normal(7, kernel_map.num_in, 40).to(dtype).cuda()
    found = blocks.run(x, kernel_map)
    apart()
    assert torch.equal(found, blocks.run(x, kernel_map))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("channels", [32, 20, 256])
def test_steps_between_levels_are_their_operators(channels, dtype, apart):
    number = rows(4000)
    starts = torch.cat([torch.arange(0, number, 5), torch.tensor([number])]).cuda()
    parents = (torch.arange(number) // 5).cuda()
    mean, variance, weight, bias = normal(1, 4, channels).cuda()
    norm = BatchNormWeights(weight, bias, mean, variance.abs() + 0.5, 1e-3)
    pooling = PoolingStep(linear(dtype, channels, 32), norm)
    unpooling = UnpoolingStep(linear(dtype, channels, 64), linear(dtype, channels, 32))
    fine, coarse = (normal(seed, *size).to(dtype).cuda() for seed, size in ((1, (number, 32)), (2, (number // 5, 64))))
    found = [pooling.run(fine, starts), *unpooling.run(coarse, fine, parents)]
    apart()
    expected = [pooling.run(fine, starts), *unpooling.run(coarse, fine, parents)]
    error = (found[0].double() - expected[0].double()).norm() / expected[0].double().norm()
    assert error < TOLERANCES[dtype]
    assert all(torch.equal(one, other) for one, other in zip(found[1:], expected[1:], strict=True))
