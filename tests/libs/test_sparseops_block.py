"""A block's calls before and after its attention: the same bits as the operators that they are made of."""

import pytest
import sparseops
import torch
from sparseops import AttentionBlock, KernelMap, LinearWeights, NormWeights, block, pack_weight, submanifold_map

CHANNELS, HIDDEN = 24, 80


def weights(dtype: torch.dtype, biased: bool = True) -> AttentionBlock:
    generator = torch.Generator().manual_seed(0)

    def linear(out_channels: int, in_channels: int, size: int = 1) -> LinearWeights:
        kernels = torch.randn(out_channels, size, size, size, in_channels, generator=generator)
        bias = torch.randn(out_channels, generator=generator) if biased else None
        return LinearWeights(pack_weight((kernels / (size**3 * in_channels) ** 0.5).to(dtype)), bias)

    def norm() -> NormWeights:
        weight, bias = (torch.randn(CHANNELS, generator=generator).to(dtype) for _ in range(2))
        return NormWeights(weight, bias if biased else None, 1e-5)

    qkv, proj, fc1, fc2 = ((3 * CHANNELS, CHANNELS), (CHANNELS, CHANNELS), (HIDDEN, CHANNELS), (CHANNELS, HIDDEN))
    head = (linear(CHANNELS, CHANNELS, 3), norm(), norm(), linear(*qkv))
    return AttentionBlock(*head, linear(*proj), norm(), linear(*fc1), linear(*fc2))


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
