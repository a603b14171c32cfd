"""Calls of several operators: the same bits as the operators that they are made of."""

import emulation
import pytest
import sparseops
import torch
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

CHANNELS, HIDDEN = 24, 80


def linear(
    dtype: torch.dtype, out_channels: int, in_channels: int, size: int = 1, biased: bool = True, seed: int = 0
) -> LinearWeights:
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.randn(out_channels, size, size, size, in_channels, generator=generator)
    bias = torch.randn(out_channels, generator=generator) if biased else None
    return LinearWeights(pack_weight((kernels / (size**3 * in_channels) ** 0.5).to(dtype)), bias)


def weights(dtype: torch.dtype, biased: bool = True, seed: int = 0) -> AttentionBlock:
    generator = torch.Generator().manual_seed(seed)

    def norm() -> NormWeights:
        weight, bias = (torch.randn(CHANNELS, generator=generator).to(dtype) for _ in range(2))
        return NormWeights(weight, bias if biased else None, 1e-5)

    sizes = ((3 * CHANNELS, CHANNELS), (CHANNELS, CHANNELS), (HIDDEN, CHANNELS), (CHANNELS, HIDDEN))
    qkv, proj, fc1, fc2 = (linear(dtype, *each, biased=biased, seed=seed) for each in sizes)
    conv = linear(dtype, CHANNELS, CHANNELS, 3, biased, seed)
    return AttentionBlock(conv, norm(), norm(), qkv, proj, norm(), fc1, fc2)


def geometry() -> tuple[KernelMap, KernelMap]:
    """A kernel map of some voxels, and one from their rows to places, of which some have the same row."""
    coords = torch.randint(0, 6, (200, 4), generator=torch.Generator().manual_seed(1)).unique(dim=0)
    coords[:, 0] = 0
    coords = coords.unique(dim=0)
    places = torch.randperm(len(coords), generator=torch.Generator().manual_seed(2)).int()
    gather, scatter = torch.cat([places, places[:7]]), places.long().argsort().int()
    return submanifold_map(coords, 3), KernelMap(gather[None], scatter[None])


def run(own: AttentionBlock, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    kernel_map, into = geometry()
    x, positional = (torch.randn(kernel_map.num_in, CHANNELS, generator=torch.Generator().manual_seed(3)) for _ in "xp")
    x, qkv = own.before(x.to(dtype), positional.to(dtype), kernel_map, into)
    return x, qkv, own.after(qkv[:, :CHANNELS].contiguous(), x, into.inverse())


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_calls_give_the_bits_of_their_operators(dtype, biased, monkeypatch):
    own = weights(dtype, biased)
    found = run(own, dtype)
    monkeypatch.setattr(block, "has_kernel", lambda tensor: False)
    expected = run(own, dtype)
    assert [tensor.shape[1] for tensor in found] == [CHANNELS, 3 * CHANNELS, CHANNELS]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@torch.inference_mode()
def test_wrong_tensors_are_told():
    own = weights(torch.float32)
    kernel_map, into = geometry()
    x = torch.randn(kernel_map.num_in, CHANNELS)
    for wrong in (x[:, :8].contiguous(), x[:5], x.t(), x.bfloat16()):
        with pytest.raises((ValueError, RuntimeError)):
            own.before(x, wrong, kernel_map, into)
        with pytest.raises((ValueError, RuntimeError)):
            own.after(wrong, x, into.inverse())


@pytest.mark.skipif(not sparseops.ARCHITECTURES, reason="the operators are not compiled")
def test_there_are_no_gradients():
    own = weights(torch.float32)
    kernel_map, into = geometry()
    x = torch.randn(kernel_map.num_in, CHANNELS, requires_grad=True)
    with pytest.raises(ValueError, match="gives no gradients"):
        own.before(x, x, kernel_map, into)
    with pytest.raises(ValueError, match="gives no gradients"):
        own.after(x, x, KernelMap(torch.arange(len(x)).int()[None]))


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attend(dtype: torch.dtype, cast: torch.dtype | None) -> torch.Tensor:
    """Two blocks that attend along different orders."""
    kernel_map, into = geometry()
    num_places, patches = into.num_out, []
    for number in range(2):
        gather, scatter = into.forwards.roll(number, 1), (into.inverse().forwards + number) % num_places
        cu_seqlens = torch.tensor([0, 30 + number, num_places - 20, num_places], dtype=torch.int32)
        patches.append((KernelMap(gather, scatter), cu_seqlens))
    blocks = AttentionBlocks((weights(dtype), weights(dtype, seed=1)), 3, (0.3, 0.4), cast)
    x, positional = (normal(seed, kernel_map.num_in, CHANNELS).to(dtype) for seed in (3, 4))
    return blocks.run(x, positional, kernel_map, patches)


def reduce_and_convolve(dtype: torch.dtype) -> torch.Tensor:
    """Residual blocks, of which the first has another width."""
    kernel_map, _ = geometry()
    convs = [linear(dtype, 16, 8, 3), linear(dtype, 16, 16, 3, seed=1), linear(dtype, 16, 8, seed=2)]
    blocks = ResidualBlock(*convs), ResidualBlock(linear(dtype, 16, 16, 3, biased=False), convs[1])
    return ResidualBlocks(blocks).run(normal(3, kernel_map.num_in, 8).to(dtype), kernel_map)


STARTS = torch.tensor([0, 1, 7, 7, 30, 31])
PARENTS = torch.arange(31) * 7 % 5


def pool(dtype: torch.dtype, affine: bool = True) -> torch.Tensor:
    weight, bias, mean, variance = normal(5, 4, 16)
    norm = BatchNormWeights(*((weight, bias) if affine else (None, None)), mean, variance.abs() + 0.5, 1e-3)
    return PoolingStep(linear(dtype, 16, 8), norm).run(normal(6, 31, 8).to(dtype), STARTS)


def unpool(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    step = UnpoolingStep(linear(dtype, 16, 24), linear(dtype, 16, 8, seed=1))
    return step.run(normal(6, 5, 24).to(dtype), normal(7, 31, 8).to(dtype), PARENTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "made",
    [
        lambda dtype: (attend(dtype, None),),
        lambda dtype: (attend(dtype, torch.bfloat16),),
        lambda dtype: (reduce_and_convolve(dtype),),
        lambda dtype: (pool(dtype),),
        lambda dtype: (pool(dtype, affine=False),),
        unpool,
    ],
    ids=["attention", "attention-cast", "residual", "pool", "pool-plain", "unpool"],
)
@torch.inference_mode()
def test_parts_of_networks_give_the_bits_of_their_operators(made, dtype, monkeypatch):
    found = made(dtype)
    for module in (block, steps):
        monkeypatch.setattr(module, "has_kernel", lambda tensor: False)
    expected = made(dtype)
    assert all(one.std() > 0 and torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_the_cuda_code_gives_the_same(dtype):
    def all_of() -> tuple[torch.Tensor, ...]:
        attended = attend(dtype, torch.bfloat16), attend(dtype, None)
        return (*attended, *run(weights(dtype), dtype), reduce_and_convolve(dtype), pool(dtype), *unpool(dtype))

    expected = all_of()
    with emulation.poisoned(), emulation.Redirected("sparseops") as mode:
        found = all_of()
    own = {"attention_blocks", "block_input", "block_output", "residual_blocks", "pool", "unpool"}
    assert mode.called >= own
    tolerance = 1e-2 if dtype == torch.float32 else 5e-2  # of the attention that is rounded
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other.double()).norm() <= tolerance * other.double().norm()
    if dtype == torch.float32:
        torch.testing.assert_close(found[1:], expected[1:], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_wrong_steps_are_told():
    step = PoolingStep(linear(torch.float32, 16, 8), BatchNormWeights(None, None, torch.zeros(16), torch.ones(16), 0))
    for x, starts in ((normal(1, 31, 9), STARTS), (normal(1, 30, 8), STARTS), (normal(1, 31, 8), STARTS.int())):
        with pytest.raises((ValueError, RuntimeError)):
            step.run(x, starts)
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        UnpoolingStep(linear(torch.float32, 16, 8), linear(torch.float32, 16, 8)).run(
            normal(1, 5, 8), normal(2, 31, 8), PARENTS + 1
        )
