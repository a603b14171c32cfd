"""The CUDA sources of attention, run on the processor by emulated threads; instructions of tensor cores are stood in
for."""

import emulation
import pytest
import torch
from sparseops import reference_serial

pytestmark = [pytest.mark.slow, pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)]
OPERATORS = torch.ops.sparseops_emulated
# relative to the norm: weights and results are rounded to 2**-11 and 2**-8
TOLERANCES = {torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
dtypes = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


@pytest.fixture(scope="module", autouse=True)
def kernels():
    with emulation.poisoned():
        yield emulation.emulated("sparseops")


@pytest.fixture(params=[(True, False), (False, True)], ids=["late-forwards", "at-once-backwards"])
def orders(request, kernels):
    """Copies that land late or at once, threads that take turns forwards or backwards."""
    kernels.set_late_copies(request.param[0])
    kernels.set_backwards(request.param[1])


def patches(lengths, heads: int, dim: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    qkv = 2 * torch.randn(int(cu_seqlens[-1]), 3, heads, dim, generator=torch.Generator().manual_seed(dim))
    return qkv.to(dtype), cu_seqlens


def error(qkv: torch.Tensor, cu_seqlens: torch.Tensor, scale: float, *positions: torch.Tensor) -> float:
    found = OPERATORS.patch_attention(qkv, cu_seqlens, scale, *positions)
    assert found.dtype == qkv.dtype
    expected = reference_serial.patch_attention(qkv.double(), cu_seqlens, scale, *positions)
    return float((found.double() - expected).norm() / expected.norm())


@dtypes
@pytest.mark.parametrize("dim", [1, 5, 16, 18, 32, 48, 64])
def test_attention_is_the_reference(orders, dtype, dim):
    qkv, cu_seqlens = patches([1, 15, 0, 17, 130, 64, 33], 2, dim, dtype)
    assert error(qkv, cu_seqlens, dim**-0.5) < TOLERANCES[dtype]


@dtypes
@pytest.mark.parametrize("scale", [0.0, -0.3])
def test_scales_that_are_not_positive(dtype, scale):
    assert error(*patches([70, 3], 1, 16, dtype), scale) < TOLERANCES[dtype]


def test_bfloat16_where_tensor_cores_have_none(orders, kernels):
    kernels.set_capability(7)
    try:
        for dim in (16, 18, 64):
            assert error(*patches([70, 3], 2, dim, torch.bfloat16), dim**-0.5) < TOLERANCES[torch.bfloat16]
    finally:
        kernels.set_capability(8)


def test_every_tile_of_many_patches_is_found():
    lengths = torch.randint(0, 9, (1100,), generator=torch.Generator().manual_seed(1)).tolist()
    assert error(*patches(lengths, 1, 1, torch.float16), 1.0) < TOLERANCES[torch.float16]


@dtypes
def test_a_patch_has_the_same_bits_in_any_company(dtype):
    qkv, cu_seqlens = patches([3, 150, 1], 2, 16, dtype)
    alone = OPERATORS.patch_attention(qkv[3:153].clone(), torch.tensor([0, 150]).int(), 0.25)
    assert torch.equal(OPERATORS.patch_attention(qkv, cu_seqlens, 0.25)[3:153], alone)


@dtypes
def test_scores_that_grow_from_tile_to_tile(dtype):
    qkv, cu_seqlens = patches([300], 1, 16, dtype)
    qkv[:, 0] = qkv[:, 0].abs()
    qkv[:, 1] = torch.linspace(-8, 8, 300)[:, None, None]
    assert error(qkv, cu_seqlens, 0.5) < TOLERANCES[dtype]


@dtypes
def test_a_nan_stays_in_its_patch_and_head(dtype):
    qkv, cu_seqlens = patches([90, 20], 2, 16, dtype)
    qkv[3, 1, 1, 4] = torch.nan
    nan = OPERATORS.patch_attention(qkv, cu_seqlens, 0.25).unflatten(1, (2, 16)).isnan()
    assert nan[:90, 1].all()
    assert not nan[90:].any()
    assert not nan[:, 0].any()


@dtypes
@pytest.mark.parametrize("starts", [[0, 3], [0, 9], [0, 4, 3, 6], [-5, 2, 1 << 30, -(1 << 30)]])
def test_patches_out_of_range_read_nothing_outside(dtype, starts):
    qkv, _ = patches([6], 2, 4, dtype)
    assert OPERATORS.patch_attention(qkv, torch.tensor(starts).int(), 0.5).shape == (6, 8)


@dtypes
@pytest.mark.parametrize(("dim", "bound"), [(16, 3), (18, 31), (64, 511)])
def test_a_bias_by_relative_position(orders, dtype, dim, bound):
    qkv, cu_seqlens = patches([1, 130, 0, 66], 2, dim, dtype)
    generator = torch.Generator().manual_seed(bound)
    table = torch.randn(3 * (2 * bound + 1), 2, generator=generator)
    voxels = torch.randint(-bound, bound, (len(qkv), 3), generator=generator, dtype=torch.int32)
    for scale in (dim**-0.5, -0.1):
        assert error(qkv, cu_seqlens, scale, table, voxels) < TOLERANCES[dtype]


def test_limits_are_told():
    qkv, table, voxels = torch.zeros(4, 3, 1, 8), torch.zeros(3075, 1), torch.zeros(4, 3, dtype=torch.int32)
    with pytest.raises(ValueError, match="at most 511 voxels far, got 512"):
        OPERATORS.patch_attention(qkv, torch.tensor([0, 4]).int(), 0.5, table, voxels)
    with pytest.raises(ValueError, match="heads of 64 channels"):
        OPERATORS.patch_attention(torch.zeros(4, 3, 1, 65), torch.tensor([0, 4]).int(), 0.5)
