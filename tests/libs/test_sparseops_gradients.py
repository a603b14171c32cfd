"""Gradients of sparse convolution: by finite differences, and against autograd over the reference in plain torch."""

import pytest
import torch
from sparseops import KernelMap, conv, pack_weight, reference, sparse_conv, strided_map, submanifold_map

KINDS = ("1", "3", "down", "up")
OTHERS = [(False, False, "none"), (True, False, "relu"), (False, True, "none"), (True, True, "relu")]


def kernel_map_of(kind: str, number: int, side: int) -> tuple[KernelMap, int]:
    """The map, and the edge of its kernel."""
    coords = torch.randint(0, side, (number, 4), generator=torch.Generator().manual_seed(0))
    coords[:, 0] %= 2
    coords = coords.unique(dim=0)
    down = strided_map(coords)[1]
    maps = {"1": submanifold_map(coords, 1), "3": submanifold_map(coords, 3), "down": down, "up": down.inverse()}
    return maps[kind], 2 if kind in ("down", "up") else int(kind)


def operands(kind, dtype, others, number=60, side=4, channels=(3, 5)):
    generator = torch.Generator().manual_seed(1)
    kernel_map, size = kernel_map_of(kind, number, side)
    with_bias, with_residual, activation = others

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    in_channels, out_channels = channels
    features, weight = random(kernel_map.num_in, in_channels), random(out_channels, size, size, size, in_channels)
    bias = random(out_channels) if with_bias else None
    residual = random(kernel_map.num_out, out_channels) if with_residual else None
    return features, weight, kernel_map, bias, residual, activation


def gradients(function, leaves, incoming):
    return torch.autograd.grad(function(), leaves, incoming)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("products", ["_pair_products", "_dense_products"])
def test_finite_differences(kind, others, products, monkeypatch):
    monkeypatch.setattr(conv, "_pair_products", getattr(conv, products))
    monkeypatch.setattr(conv, "PART_ROWS", 8)
    monkeypatch.setattr(conv, "GATHERED_BYTES", 2 * 8 * 2 * 8 * 27)  # some parts at a time, fewer than all
    given = operands(kind, torch.float64, others, number=25, side=3, channels=(2, 3))
    assert torch.autograd.gradcheck(sparse_conv, given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_reference_by_autograd(kind, others, dtype):
    given = operands(kind, dtype, others, number=500, side=8, channels=(20, 36))
    features, weight, kernel_map, bias, residual, activation = given
    leaves = [tensor for tensor in given if isinstance(tensor, torch.Tensor)]
    incoming = torch.randn(kernel_map.num_out, weight.shape[0], generator=torch.Generator().manual_seed(2)).to(dtype)
    found = gradients(lambda: sparse_conv(*given), leaves, incoming)

    def exact():
        wide = [tensor.double() if isinstance(tensor, torch.Tensor) else tensor for tensor in (bias, residual)]
        return reference.sparse_conv(features.double(), weight.double().flatten(1, 3), kernel_map, *wide, activation)

    expected = gradients(exact, leaves, incoming.double())
    rounding = 1e-5 if dtype == torch.float32 else 2**-6
    for one, other, leaf in zip(found, expected, leaves, strict=True):
        assert (one.dtype, one.shape) == (leaf.dtype, leaf.shape)
        assert (one.double() - other.double()).norm() <= rounding * other.double().norm()


def test_entries_that_are_no_rows_have_no_part():
    rows = torch.tensor([[0, 1, -7], [3, 2, 1]], dtype=torch.int32)
    backwards = torch.tensor([[0, 1, -1], [-1, 2, 1]], dtype=torch.int32)
    features = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2, 1, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: sparse_conv(f, w, KernelMap(rows, backwards)), (features, weight))


def test_no_voxels_and_no_channels():
    kernel_map = submanifold_map(torch.empty(0, 4, dtype=torch.int64), 3)
    features, weight = torch.empty(0, 3, requires_grad=True), torch.randn(2, 3, 3, 3, 3, requires_grad=True)
    found = gradients(lambda: sparse_conv(features, weight, kernel_map), (features, weight), torch.empty(0, 2))
    assert found[0].shape == (0, 3)
    assert not found[1].any()


def test_half_the_gradients_are_asked_for():
    features, weight, kernel_map, *_ = operands("3", torch.float32, OTHERS[0])
    incoming = torch.ones(kernel_map.num_out, 5)
    alone = gradients(lambda: sparse_conv(features.detach(), weight, kernel_map), (weight,), incoming)
    both = gradients(lambda: sparse_conv(features, weight, kernel_map), (features, weight), incoming)
    assert torch.equal(alone[0], both[1])
    with pytest.raises(ValueError, match="a packed weight gives no gradients"):
        sparse_conv(features, pack_weight(weight), kernel_map)


def test_gradients_are_the_same_bits_for_any_number_of_threads():
    given = operands("3", torch.float32, OTHERS[3], number=2000, side=14, channels=(32, 48))
    leaves = [tensor for tensor in given if isinstance(tensor, torch.Tensor)]
    incoming, before, results = torch.randn(given[2].num_out, 48), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(gradients(lambda: sparse_conv(*given)[:, :48], leaves[:1], incoming))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
