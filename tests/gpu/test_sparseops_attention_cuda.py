"""Attention inside patches on a CUDA device against float64 on the processor."""

from itertools import pairwise

import pytest
import torch
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import patch_attention, reference_serial

pytestmark = pytest.mark.gpu
# relative to the norm: weights and results are rounded to 2**-11 and 2**-8
TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
LENGTHS = [1, 15, 16, 17, 48, 0, 1000, 1024, 1025, 4096, 3]
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def patches(lengths, heads: int, dim: int, dtype: torch.dtype, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    qkv = 2 * torch.randn(int(cu_seqlens[-1]), 3, heads, dim, generator=generator)
    return qkv.to(dtype).cuda(), cu_seqlens.cuda()


def attend(qkv: torch.Tensor, cu_seqlens: torch.Tensor, **others) -> torch.Tensor:
    """Nothing is read back, and every row is written: memory is poisoned."""
    torch.use_deterministic_algorithms(True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        return patch_attention(qkv, cu_seqlens, **others)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.use_deterministic_algorithms(False)


def error(
    found: torch.Tensor, qkv: torch.Tensor, cu_seqlens: torch.Tensor, scale: float, *positions: torch.Tensor
) -> float:
    on_cpu = [tensor.cpu() for tensor in positions]
    expected = reference_serial.patch_attention(qkv.cpu().double(), cu_seqlens.cpu(), scale, *on_cpu)
    return float((found.cpu().double() - expected).norm() / expected.norm())


@dtypes
@pytest.mark.parametrize("dim", [16, 18, 32, 64])
def test_patches_of_any_lengths(dtype, dim):
    qkv, cu_seqlens = patches(LENGTHS, 2, dim, dtype)
    found = attend(qkv, cu_seqlens)
    assert found.dtype == dtype
    assert error(found, qkv, cu_seqlens, dim**-0.5) < TOLERANCES[dtype]
    for _ in range(3):
        assert torch.equal(attend(qkv, cu_seqlens), found)


@dtypes
@pytest.mark.parametrize(("dim", "bound"), [(16, 31), (18, 14), (32, 31), (64, 511)])
def test_a_bias_by_relative_position(dtype, dim, bound):
    qkv, cu_seqlens = patches([1, 1000, 48, 1025, 0, 17], 2, dim, dtype)
    generator = torch.Generator().manual_seed(bound)
    table = torch.randn(3 * (2 * bound + 1), 2, generator=generator).cuda()
    voxels = torch.randint(-bound, bound, (len(qkv), 3), generator=generator, dtype=torch.int32).cuda()
    found = attend(qkv, cu_seqlens, table=table, voxels=voxels)
    assert error(found, qkv, cu_seqlens, dim**-0.5, table, voxels) < TOLERANCES[dtype]
    assert torch.equal(attend(qkv, cu_seqlens, table=table, voxels=voxels), found)


@dtypes
@pytest.mark.parametrize("dim", [16, 32, 64])
@pytest.mark.parametrize("is_biased", [False, True])
def test_few_rows(dtype, dim, is_biased):
    qkv, cu_seqlens = patches([70, 1, 130], 2, dim, dtype)
    generator = torch.Generator().manual_seed(dim)
    table = torch.randn(3 * 9, 2, generator=generator).cuda()
    voxels = torch.randint(-4, 5, (len(qkv), 3), generator=generator, dtype=torch.int32).cuda()
    positions = {"table": table, "voxels": voxels} if is_biased else {}
    found = attend(qkv, cu_seqlens, **positions)
    assert error(found, qkv, cu_seqlens, dim**-0.5, *positions.values()) < TOLERANCES[dtype]


@dtypes
@settings(max_examples=examples(30), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=70),
    heads=st.integers(1, 5),
    dim=st.integers(1, 64),
    scale=st.sampled_from([0.0, -0.4, 0.25]),
)
def test_any_shape(dtype, seed, lengths, heads, dim, scale):
    qkv, cu_seqlens = patches([*lengths, 1], heads, dim, dtype, seed)
    assert error(attend(qkv, cu_seqlens, scale=scale), qkv, cu_seqlens, scale) < TOLERANCES[dtype]


@dtypes
def test_a_patch_has_the_same_bits_in_any_company(dtype):
    qkv, cu_seqlens = patches(LENGTHS, 3, 16, dtype)
    found, starts = attend(qkv, cu_seqlens), cu_seqlens.tolist()
    for begin, end in pairwise(starts):
        alone = torch.tensor([0, end - begin], dtype=torch.int32).cuda()
        assert torch.equal(attend(qkv[begin:end].clone(), alone), found[begin:end])


@dtypes
def test_many_patches_and_rows(dtype):
    lengths = torch.randint(0, 90, (20_000,), generator=torch.Generator().manual_seed(1)).tolist()
    qkv, cu_seqlens = patches(lengths, 1, 16, dtype)
    found, middle = attend(qkv, cu_seqlens), cu_seqlens[10_000:10_041]
    rows = slice(int(middle[0]), int(middle[-1]))
    assert not found.isnan().any()
    assert error(found[rows], qkv[rows], middle - middle[0], 0.25) < TOLERANCES[dtype]


@dtypes
def test_scores_far_apart_and_a_nan(dtype):
    qkv, cu_seqlens = patches([200, 130], 2, 16, dtype)
    qkv[:, :2] *= 10  # scores in the thousands, whose last bits are large
    assert error(attend(qkv, cu_seqlens, scale=1.0), qkv, cu_seqlens, 1.0) < max(TOLERANCES[dtype], 2e-3)
    qkv[30, 1, 1, 4] = torch.nan
    nan = attend(qkv, cu_seqlens).unflatten(1, (2, 16)).isnan()
    assert nan[:200, 1].all()
    assert not nan[200:].any()
    assert not nan[:, 0].any()


@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16])
def test_casts_round_what_goes_in_and_what_comes_out(cast):
    qkv, cu_seqlens = patches([1024, 77], 2, 16, torch.float32)
    found = attend(qkv, cu_seqlens, cast=cast)
    assert found.dtype == torch.float32
    assert torch.equal(found, attend(qkv.to(cast), cu_seqlens).float())


@dtypes
def test_more_channels_a_head_than_the_kernel_has(dtype):
    qkv, cu_seqlens = patches([50, 7], 2, 80, dtype)
    assert error(patch_attention(qkv, cu_seqlens), qkv, cu_seqlens, 80**-0.5) < TOLERANCES[dtype]


@dtypes
@pytest.mark.parametrize("starts", [[0, 3], [0, 9], [0, 4, 3, 6], [-5, 2, 1 << 30, -(1 << 30)]])
def test_patches_out_of_range_do_no_harm(dtype, starts):
    qkv, _ = patches([6], 2, 4, dtype)
    assert patch_attention(qkv, torch.tensor(starts, dtype=torch.int32).cuda()).shape == (6, 8)
    torch.cuda.synchronize()


@pytest.mark.parametrize("shape", [(6, 3, 2, 0), (6, 3, 0, 4), (0, 3, 2, 4)])
def test_nothing_to_attend_to(shape):
    qkv, starts = torch.zeros(shape).cuda(), torch.tensor([0, shape[0]], dtype=torch.int32).cuda()
    assert attend(qkv, starts).shape == (shape[0], shape[2] * shape[3])


def test_gradients_are_those_of_the_processor():
    qkv, cu_seqlens = patches([40, 3, 40], 2, 16, torch.float32)
    gradients = []
    for device in ("cpu", "cuda"):
        leaf = qkv.to(device, copy=True).requires_grad_()
        patch_attention(leaf, cu_seqlens.to(device)).square().sum().backward()
        gradients.append(leaf.grad.cpu())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_torch_compile_sees_through_attention():
    qkv, cu_seqlens = patches([40, 3], 2, 16, torch.float16)
    doubled = lambda given, starts: 2 * patch_attention(given * 2, starts)  # noqa: E731
    compiled = torch.compile(doubled, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(qkv, cu_seqlens), doubled(qkv, cu_seqlens))
