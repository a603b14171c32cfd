"""Layer norms: the operators on the processor, and the CUDA kernels run by emulated threads, against float64."""

import emulation
import pytest
import sparseops
import torch
from sparseops import layer_norm, residual_norm

WIDTHS = [8, 32, 48, 64, 96, 128, 256, 264, 512, 1024]  # of packs that fill a lane, a part of a warp, a warp and more
ODD = [1, 5, 36, 252, 4104]  # that torch takes
ROUNDING = {torch.float32: 2e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}
needs_emulation = pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)


def operands(rows: int, channels: int, dtype: torch.dtype):
    """x and residual with a mean that is not 0, weight, bias, and those of the next norm."""
    generator = torch.Generator().manual_seed(rows + channels)
    x, residual = (3 + torch.randn(rows, channels, generator=generator) for _ in range(2))
    affine = [torch.randn(channels, generator=generator) for _ in range(4)]
    return [tensor.to(dtype) for tensor in (x, residual, *affine)]


def exact(x, weight=None, bias=None, residual=None):
    centred = x.double() - x.double().mean(1, keepdim=True)
    out = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    for factor in () if weight is None else (weight,):
        out = out * factor.double()
    for term in (bias, residual):
        out = out if term is None else out + term.double()
    return out


def check(rows: int, channels: int, dtype: torch.dtype) -> None:
    x, residual, weight, bias, next_weight, next_bias = operands(rows, channels, dtype)
    tolerance = {"rtol": ROUNDING[dtype], "atol": 8 * ROUNDING[dtype]}
    torch.testing.assert_close(layer_norm(x).double(), exact(x), **tolerance)
    found = layer_norm(x, weight, bias)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact(x, weight, bias), **tolerance)
    found, after = residual_norm(x, residual, weight, bias, next_weight, next_bias)
    torch.testing.assert_close(found.double(), exact(x, weight, bias, residual), **tolerance)
    torch.testing.assert_close(after.double(), exact(found, next_weight, next_bias), **tolerance)
    assert torch.equal(layer_norm(found, next_weight, next_bias), after)
    assert torch.equal(layer_norm(x, weight, bias, residual=residual), found)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("channels", [1, 32, 252])
@pytest.mark.parametrize("rows", [0, 1, 77])
def test_layer_norms_on_the_processor(rows, channels, dtype):
    x, residual, weight, bias, next_weight, next_bias = operands(rows, channels, dtype)
    found, after = residual_norm(x, residual, weight, bias, next_weight, next_bias)
    assert torch.equal(found, torch.nn.functional.layer_norm(x, (channels,), weight, bias) + residual)
    assert torch.equal(after, torch.nn.functional.layer_norm(found, (channels,), next_weight, next_bias))
    assert torch.equal(layer_norm(x), torch.nn.functional.layer_norm(x, (channels,)))


def test_gradients_are_torchs():
    given = [tensor.requires_grad_() for tensor in operands(20, 16, torch.float64)]
    assert torch.autograd.gradcheck(residual_norm, given, fast_mode=True)


@pytest.mark.slow
@needs_emulation
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("channels", WIDTHS + ODD)
def test_kernels_give_what_is_exact(channels, dtype, backwards):
    emulation.emulated("sparseops").set_backwards(backwards)
    with torch.inference_mode(), emulation.poisoned(), emulation.Redirected("sparseops") as mode:
        for rows in (0, 1, 37):
            check(rows, channels, dtype)
    assert mode.called == {"layer_norm", "residual_norm"}


@pytest.mark.slow
@needs_emulation
@pytest.mark.parametrize("channels", [32, 512])
def test_a_row_of_the_kernels_depends_on_no_other(channels):
    emulation.emulated("sparseops").set_backwards(False)
    x, residual, *affine = operands(50, channels, torch.float16)
    with torch.inference_mode(), emulation.Redirected("sparseops"):
        together = residual_norm(x, residual, *affine)
        alone = residual_norm(x[7:9].contiguous(), residual[7:9].contiguous(), *affine)
        shifted = torch.cat([x.flatten()[:1], x.flatten()])[1:].view(x.shape)  # does not begin at 16 bytes
        assert torch.equal(sparseops.layer_norm(shifted), sparseops.layer_norm(x))
    assert all(torch.equal(one[7:9], other) for one, other in zip(together, alone, strict=True))
