"""Linear layers with activations, and layer norms, on a CUDA device: against float64, the same bits in any company."""

import pytest
import torch
from effort import rows
from sparseops import KernelMap, layer_norm, pack_weight, residual_norm, sparse_conv
from sparseops_samples import KINDS, TOLERANCES, arithmetic, poison, relative_error

pytestmark = pytest.mark.gpu
ROUNDING = {torch.float32: 2e-6, torch.float16: 2**-10, torch.bfloat16: 2**-7}


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("in_channels", "out_channels"),
    [(32, 96), (32, 128), (48, 20), (64, 64), (64, 256), (96, 96), (128, 512), (512, 128), (512, 2048), (2048, 512)],
)
@pytest.mark.parametrize("number", [0, 1, 64, 129, 3000])
def test_linear_layers(kind, in_channels, out_channels, number):
    with arithmetic(kind) as dtype:
        features, residual = normal(1, number, in_channels).to(dtype), normal(2, number, out_channels).to(dtype)
        weight, bias = (normal(3, out_channels, in_channels) / in_channels**0.5).to(dtype), normal(4, out_channels)
        packed = pack_weight(weight.cuda()[:, None, None, None])
        own = KernelMap(torch.arange(number, dtype=torch.int32, device="cuda")[None])
        extras = (bias.cuda(), residual.cuda())
        plain = features.double() @ weight.double().t() + bias.double() + residual.double()
        expected = {"none": plain, "relu": plain.relu(), "gelu": torch.nn.functional.gelu(plain)}
        for activation, exact in expected.items():
            poison(number, out_channels, dtype=dtype)
            found = sparse_conv(features.cuda(), packed, None, *extras, activation)
            assert found.dtype == dtype
            assert relative_error(found, exact) < TOLERANCES[kind]
            assert torch.equal(sparse_conv(features.cuda(), packed, own, *extras, activation), found)


@pytest.mark.parametrize("out_channels", [32, 64, 96, 128, 256])  # the tiles, which many rows take
@pytest.mark.parametrize(("kind", "in_channels"), [*((kind, 32) for kind in KINDS), ("float16", 64), ("bfloat16", 64)])
def test_tiles_of_every_width(kind, in_channels, out_channels):
    number = 28_000
    with arithmetic(kind) as dtype:
        features, weight = normal(1, number, in_channels), normal(2, out_channels, 2, 2, 2, in_channels) / 8
        features, weight = features.to(dtype), weight.to(dtype)
        own = KernelMap(torch.arange(number, dtype=torch.int32, device="cuda").expand(8, number).contiguous())
        poison(number, out_channels, dtype=dtype)
        found = sparse_conv(features.cuda(), pack_weight(weight.cuda()), own)
        expected = features.double() @ weight.double().sum((1, 2, 3)).t()
        assert relative_error(found, expected) < TOLERANCES[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("in_channels", "out_channels"), [(32, 128), (64, 256), (512, 2048), (2048, 512)])
def test_a_row_of_a_linear_layer_depends_on_no_other(kind, in_channels, out_channels):
    with arithmetic(kind) as dtype:
        features = normal(1, rows(60_000), in_channels).to(dtype).cuda()
        packed = pack_weight(normal(2, out_channels, 1, 1, 1, in_channels).to(dtype).cuda())
        together = sparse_conv(features, packed, None, activation="gelu")
        for first, number in ((0, 1), (5, 70), (100, 2000), (200, 4000)):
            part = slice(first, first + number)
            alone = sparse_conv(features[part].contiguous(), packed, None, activation="gelu")
            assert torch.equal(alone, together[part])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [8, 64])  # by mma.sync and by wgmma
def test_gelu_of_every_number_in_half_precision(channels, dtype):
    numbers = torch.arange(-(2**15), 2**15).short().view(dtype)
    numbers = numbers.where(numbers.isfinite() & (numbers.abs() < 1e4), 0).view(-1, channels)
    identity = torch.eye(channels, dtype=dtype)[:, None, None, None]
    found = sparse_conv(numbers.cuda(), identity.cuda(), None, activation="gelu")
    expected = torch.nn.functional.gelu(numbers.double())
    torch.testing.assert_close(found.cpu().double(), expected, rtol=ROUNDING[dtype], atol=4e-7)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("channels", [1, 8, 32, 36, 48, 64, 96, 128, 252, 256, 384, 512, 1024, 4104])
@pytest.mark.parametrize("number", [0, 1, 63, 5000])
def test_layer_norms(number, channels, dtype):
    x, residual = ((3 + normal(seed, number, channels)).to(dtype) for seed in (1, 2))
    affine = [normal(seed, channels).to(dtype) for seed in (3, 4, 5, 6)]
    wide = [tensor.double() for tensor in (x, residual, *affine)]
    tolerance = {"rtol": ROUNDING[dtype], "atol": 8 * ROUNDING[dtype]}
    poison(number, channels, dtype=dtype)
    found, after = residual_norm(x.cuda(), residual.cuda(), *(tensor.cuda() for tensor in affine))
    expected = torch.nn.functional.layer_norm(wide[0], (channels,), *wide[2:4]) + wide[1]
    torch.testing.assert_close(found.cpu().double(), expected, **tolerance)
    expected = torch.nn.functional.layer_norm(found.cpu().double(), (channels,), *wide[4:])
    torch.testing.assert_close(after.cpu().double(), expected, **tolerance)
    poison(number, channels, dtype=dtype)
    assert torch.equal(layer_norm(found, affine[2].cuda(), affine[3].cuda()), after)
    assert torch.equal(layer_norm(x.cuda(), affine[0].cuda(), affine[1].cuda(), residual=residual.cuda()), found)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("channels", [32, 64, 252, 512])
def test_a_row_of_a_layer_norm_depends_on_no_other(channels, dtype):
    x, residual = (normal(seed, rows(100_000), channels).to(dtype).cuda() for seed in (1, 2))
    affine = [normal(seed, channels).to(dtype).cuda() for seed in (3, 4, 5, 6)]
    together = residual_norm(x, residual, *affine)
    for part in (slice(0, 1), slice(7, 77), slice(1001, 3001)):
        alone = residual_norm(x[part].contiguous(), residual[part].contiguous(), *affine)
        assert all(torch.equal(one, all_rows[part]) for one, all_rows in zip(alone, together, strict=True))
        assert torch.equal(residual_norm(x[part], residual[part], *affine)[1], alone[1])  # begins anywhere
