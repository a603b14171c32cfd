"""Patch padding and attention inside patches."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import ARCHITECTURES, patch_attention, patch_padding, reference_serial

GOLDEN = Path(__file__).parents[1] / "golden" / "attention_padding"
OPERATORS = [reference_serial] + ([torch.ops.sparseops] if ARCHITECTURES else [])
GIVEN, EXPECTED = np.load(GOLDEN / "input.npz"), np.load(GOLDEN / "output.npz")


@pytest.mark.parametrize("case", range(6))
def test_padding_is_the_golden(case):
    offset = torch.from_numpy(GIVEN[f"offset_{case}"])
    got = patch_padding(offset, int(GIVEN[f"patch_{case}"]))
    sizes = len(got.unpad), len(got.pad), len(got.cu_seqlens) - 1
    reference = reference_serial.patch_padding(offset, int(GIVEN[f"patch_{case}"]), *sizes)
    for name, tensor, expected in zip(got._fields, got, reference, strict=True):
        golden = torch.from_numpy(EXPECTED[f"{name}_{case}"])
        assert tensor.dtype == golden.dtype
        assert torch.equal(tensor, golden)
        assert torch.equal(expected, golden)


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 70), max_size=9), patch_size=st.integers(1, 48))
def test_padding_fills_patches_and_gives_the_points_back(counts, patch_size):
    offset = torch.tensor(counts, dtype=torch.int64).cumsum(0)
    got = patch_padding(offset, patch_size)
    expected = reference_serial.patch_padding(offset, patch_size, len(got.unpad), len(got.pad), len(got.cu_seqlens) - 1)
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))
    assert torch.equal(got.pad[got.unpad], torch.arange(sum(counts)))
    cloud = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
    lengths = got.cu_seqlens.diff().tolist()
    for patch in got.pad.split(lengths):
        own = cloud[patch].unique().tolist()
        assert len(own) == 1
        assert len(patch) == min(patch_size, counts[own[0]])
        assert len(patch.unique()) == len(patch)


@pytest.mark.parametrize(
    ("offset", "patch_size", "message"),
    [
        (torch.tensor([3.0]), 4, r"int64 \(B,\), got torch.float32"),
        (torch.tensor([[3]]), 4, r"got torch.int64 \(1, 1\)"),
        (torch.tensor([3]), 0, "patch_size must be at least 1, got 0"),
        (torch.tensor([5, 3]), 4, "got 3 after 5"),
        (torch.tensor([-1]), 4, "got -1 after 0"),
        (torch.tensor([1 << 31]), 4, "2147483648"),
    ],
)
def test_wrong_offsets_are_named(offset, patch_size, message):
    with pytest.raises(ValueError, match=message):
        patch_padding(offset, patch_size)


def patches(seed: int, lengths: list[int], heads: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    return 2 * torch.randn(int(cu_seqlens[-1]), 3, heads, dim, generator=generator), cu_seqlens


def positions(seed: int, rows: int, heads: int, bound: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """A table and voxels, of which some are further apart than it reaches."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(3 * (2 * bound + 1), heads, generator=generator)
    return table, torch.randint(-bound, bound + 1, (rows, 3), generator=generator, dtype=torch.int32)


def written_out(qkv, cu_seqlens, scale, table=None, voxels=None):
    """Attention in float64, patch by patch."""
    out = qkv.new_empty(qkv.shape[0], qkv.shape[2], qkv.shape[3]).double()
    for begin, end in pairwise(cu_seqlens.tolist()):
        query, key, value = qkv[begin:end].double().permute(1, 2, 0, 3)
        scores = scale * query @ key.transpose(1, 2)
        for axis in range(3 if table is not None else 0):
            along, place = table.double().chunk(3)[axis], voxels[begin:end, axis]
            bound = len(along) // 2
            scores = scores + along[bound + (place[:, None] - place).clamp(-bound, bound)].permute(2, 0, 1)
        out[begin:end] = (scores.softmax(-1) @ value).transpose(0, 1)
    return out.flatten(1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 70), max_size=6) | st.just([128, 128, 5]),
    heads=st.integers(1, 3),
    dim=st.sampled_from([1, 5, 16, 18, 33, 64]),
    threads=st.sampled_from([1, 3]),
)
def test_attention_is_exact(seed, lengths, heads, dim, threads):
    qkv, cu_seqlens = patches(seed, lengths, heads, dim)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = patch_attention(qkv, cu_seqlens)
    finally:
        torch.set_num_threads(before)
    expected = written_out(qkv, cu_seqlens, dim**-0.5).float()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    reference = reference_serial.patch_attention(qkv, cu_seqlens, dim**-0.5)
    torch.testing.assert_close(reference, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("lengths", [[1], [12, 12], [16], [37, 0, 5, 5, 5]])
def test_a_bias_by_relative_position_is_added_to_the_scores(lengths, monkeypatch):
    qkv, cu_seqlens = patches(lengths[0], lengths, 2, 16)
    table, voxels = positions(0, len(qkv), 2)
    expected = written_out(qkv, cu_seqlens, 0.3, table, voxels).float()
    got = patch_attention(qkv, cu_seqlens, 0.3, table, voxels)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    for limit in (1, 1 << 24):
        monkeypatch.setattr(reference_serial, "BIAS_ELEMENTS", limit)
        reference = reference_serial.patch_attention(qkv, cu_seqlens, 0.3, table, voxels)
        torch.testing.assert_close(reference, expected, rtol=1e-5, atol=2e-5)


def test_scores_far_apart_and_far_from_zero_stay_exact():
    qkv, cu_seqlens = patches(1, [50], 1, 16)
    qkv[:, :2] *= 100
    expected = written_out(qkv, cu_seqlens, 1.0).float()
    torch.testing.assert_close(patch_attention(qkv, cu_seqlens, 1.0), expected, rtol=1e-3, atol=1e-3)
    one_hot = qkv.clone()
    one_hot[:, 0], one_hot[:, 1] = 0, 0
    got = patch_attention(one_hot, cu_seqlens)  # equal scores: the mean
    torch.testing.assert_close(got, qkv[:, 2].mean(0).expand(50, -1, -1).flatten(1), rtol=1e-5, atol=1e-5)


def test_a_nan_stays_in_its_patch_and_head():
    qkv, cu_seqlens = patches(1, [20, 20], 2, 16)
    qkv[3, 1, 1, 4] = torch.nan
    nan = patch_attention(qkv, cu_seqlens).unflatten(1, (2, 16)).isnan()
    assert nan[:20, 1].all()
    assert not nan[20:].any()
    assert not nan[:, 0].any()


@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16])
def test_casts_round_what_goes_in_and_what_comes_out(cast):
    qkv, cu_seqlens = patches(2, [40, 17], 2, 16)
    got = patch_attention(qkv, cu_seqlens, cast=cast)
    exact = written_out(qkv.to(cast), cu_seqlens, 0.25)
    assert torch.equal(got, got.to(cast).float())
    torch.testing.assert_close(got, exact.to(cast).float(), rtol=1e-2, atol=1e-4)
    assert (got - patch_attention(qkv, cu_seqlens)).abs().max() > 0


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
def test_half_precision_comes_out_as_it_goes_in(dtype, error):
    qkv, cu_seqlens = patches(2, [40, 17], 2, 16)
    got = patch_attention(qkv.to(dtype), cu_seqlens)
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), written_out(qkv.to(dtype), cu_seqlens, 0.25), rtol=error, atol=error)


def test_threads_do_not_change_a_bit():
    qkv, cu_seqlens = patches(3, [100, 100, 30, 7], 3, 16)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(patch_attention(qkv, cu_seqlens))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


QKV, STARTS = torch.zeros(6, 3, 2, 4), torch.tensor([0, 3, 6], dtype=torch.int32)
TABLE, VOXELS = positions(0, 6, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"qkv": QKV[:, :2]}, r"\(T, 3, H, D\), got \(6, 2, 2, 4\)"),
        ({"qkv": QKV.transpose(2, 3)}, "contiguous"),
        ({"qkv": QKV.double()}, "bfloat16, got torch.float64"),
        ({"cu_seqlens": STARTS.long()}, "int32"),
        ({"cu_seqlens": STARTS.to("meta")}, "on cpu"),
        ({"cast": torch.int8}, "got torch.int8"),
        ({"table": TABLE}, "table and voxels must be given together"),
        ({"voxels": VOXELS}, "table and voxels must be given together"),
        ({"table": TABLE[:20], "voxels": VOXELS}, r"\(3 \* \(2 \* bound \+ 1\), 2\), got \(20, 2\)"),
        ({"table": TABLE[:, :1], "voxels": VOXELS}, r"got \(21, 1\)"),
        ({"table": TABLE.double(), "voxels": VOXELS}, "float32 .*, got torch.float64"),
        ({"table": TABLE, "voxels": VOXELS[:5]}, r"\(6, 3\), got \(5, 3\)"),
        ({"table": TABLE, "voxels": VOXELS.long()}, "int32 .*, got torch.int64"),
    ],
)
def test_wrong_attention_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        patch_attention(**{"qkv": QKV, "cu_seqlens": STARTS, **arguments})


@pytest.mark.parametrize("operators", OPERATORS, ids=str)
@pytest.mark.parametrize("starts", [[0, 3], [0, 7], [0, 9], [1, 6], [0, 4, 3, 6], [0, -2, 6]])
def test_patches_out_of_range_are_refused(operators, starts):
    with pytest.raises(ValueError, match="cu_seqlens must"):
        operators.patch_attention(QKV, torch.tensor(starts, dtype=torch.int32), 0.5)


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
@pytest.mark.parametrize(
    ("table", "voxels", "message"),
    [
        (TABLE, None, "given together"),
        (TABLE[:20], VOXELS, r"table must be contiguous float32"),
        (TABLE.half(), VOXELS, r"table must be contiguous float32"),
        (TABLE, VOXELS[:5], r"voxels must be contiguous int32 \(6, 3\)"),
    ],
)
def test_the_operator_itself_reads_no_position_outside(table, voxels, message):
    with pytest.raises(ValueError, match=message):
        torch.ops.sparseops.patch_attention(QKV, STARTS, 0.5, table, voxels)


@pytest.mark.parametrize("shape", [(6, 3, 2, 0), (6, 3, 0, 4), (0, 3, 2, 4)])
def test_nothing_to_attend_to(shape):
    qkv, starts = torch.zeros(shape), torch.tensor([0, shape[0]], dtype=torch.int32)
    assert patch_attention(qkv, starts).shape == (shape[0], shape[2] * shape[3])
    assert reference_serial.patch_attention(qkv, starts, 1.0).shape == (shape[0], shape[2] * shape[3])


@pytest.mark.parametrize("cast", [None, torch.bfloat16])
def test_gradients_reach_qkv_and_table(cast):
    qkv, cu_seqlens = patches(4, [3, 3], 2, 4)
    table, voxels = positions(1, 6, 2)
    weights = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    found, expected = [], []
    for function, inputs, gradients in [
        (lambda q, t: patch_attention(q, cu_seqlens, 0.5, t, voxels, cast), (qkv, table), found),
        (lambda q, t: written_out(q, cu_seqlens, 0.5, t, voxels), (qkv.double(), table.double()), expected),
    ]:
        leaves = [tensor.requires_grad_() for tensor in inputs]
        (function(*leaves) * weights).sum().backward()
        gradients += [leaf.grad.double() for leaf in leaves]
    tolerance = 1e-5 if cast is None else 0.1
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_gradients_of_the_reference_are_right():
    qkv, cu_seqlens = patches(5, [3, 1, 2], 2, 4)
    assert torch.autograd.gradcheck(
        lambda q: reference_serial.patch_attention(q, cu_seqlens, 0.5), qkv.double().requires_grad_()
    )


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
def test_torch_compile_sees_through_attention():
    def doubled(qkv: torch.Tensor, starts: torch.Tensor, *by: torch.Tensor) -> torch.Tensor:
        return 2 * patch_attention(qkv * 2, starts, None, *by)

    qkv, starts = patches(6, [3, 3], 2, 4)
    compiled = torch.compile(doubled, backend="aot_eager", fullgraph=True)
    for by in ((), (TABLE, VOXELS)):
        assert torch.equal(compiled(qkv, starts, *by), doubled(qkv, starts, *by))


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
def test_torch_compile_goes_on_around_the_padding():
    def filled(x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        padding = patch_padding(offset, 4)
        return (x * 2)[padding.pad] + 1

    x, offset = torch.arange(12.0), torch.tensor([9, 12])
    assert torch.equal(torch.compile(filled, backend="aot_eager")(x, offset), filled(x, offset))


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
def test_the_operators_are_registered_as_torch_wants_them():
    operators = torch.ops.sparseops
    for operator, arguments in [
        (operators.patch_padding, (torch.tensor([9, 12]), 4, 12, 15, 4)),
        (operators.patch_attention, (QKV, STARTS, 0.5)),
        (operators.patch_attention, (QKV, STARTS, 0.5, TABLE, VOXELS)),
    ]:
        torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))
