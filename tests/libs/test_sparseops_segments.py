"""Segment reductions against the reference and against loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import ARCHITECTURES, reference_serial, segment_reduce

OPERATORS = [reference_serial] + ([torch.ops.sparseops] if ARCHITECTURES else [])
REDUCTIONS = reference_serial.REDUCTIONS
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def values_of(seed: int, rows: int, channels: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 40) | st.just(3000), max_size=30),
    channels=st.sampled_from([0, 1, 3, 63, 64, 65, 130]),
    dtype=st.sampled_from(DTYPES),
    threads=st.sampled_from([1, 3]),
)
def test_compiled_and_reference_agree(reduction, seed, lengths, channels, dtype, threads):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    values = values_of(seed, int(offsets[-1]), channels, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = segment_reduce(values, offsets, reduction)
    finally:
        torch.set_num_threads(before)
    expected = reference_serial.segment_reduce(values, offsets, REDUCTIONS.index(reduction))
    assert got.shape == (len(lengths), channels)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference_is_torchs_reduction_of_each_slice(reduction, dtype):
    offsets = torch.tensor([0, 4, 4, 5, 12])
    values = values_of(1, 12, 5, dtype)
    got = reference_serial.segment_reduce(values, offsets, REDUCTIONS.index(reduction))
    reduce = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}[reduction]
    for segment, (begin, end) in enumerate([(0, 4), (4, 4), (4, 5), (5, 12)]):
        expected = reduce(values[begin:end].double(), 0) if end > begin else torch.zeros(5)
        torch.testing.assert_close(got[segment], expected.to(dtype))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_nan_shows_in_its_segment_alone(reduction):
    for place in range(3):
        values = torch.ones(6, 2)
        values[place, 0] = torch.nan
        got = segment_reduce(values, torch.tensor([0, 3, 6]), reduction)
        assert got.isnan().tolist() == [[True, False], [False, False]]


VALUES, OFFSETS = torch.zeros(5, 2), torch.tensor([0, 2, 5])


@pytest.mark.parametrize(
    ("values", "offsets", "reduction", "message"),
    [
        (VALUES, OFFSETS, "median", "one of sum, mean, max, min, got 'median'"),
        (VALUES[0], OFFSETS, "sum", r"\(N, C\), got \(2,\)"),
        (VALUES.T, OFFSETS, "sum", "contiguous"),
        (VALUES.int(), OFFSETS, "sum", "got torch.int32"),
        (VALUES, OFFSETS.int(), "sum", "int64"),
        (VALUES, OFFSETS[:0], "sum", "int64"),
        (VALUES, OFFSETS.to("meta"), "sum", "offsets must be on cpu"),
    ],
)
def test_wrong_input_is_named(values, offsets, reduction, message):
    with pytest.raises(ValueError, match=message):
        segment_reduce(values, offsets, reduction)


@pytest.mark.parametrize("operators", OPERATORS, ids=str)
@pytest.mark.parametrize("offsets", [[0, 2, 6], [1, 5], [0, 4, 2, 5], [0, -1, 5], [0, 9, 5]])
def test_offsets_out_of_range_are_refused(operators, offsets):
    with pytest.raises(ValueError, match="offsets must"):
        operators.segment_reduce(VALUES, torch.tensor(offsets), 0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_reach_the_values(reduction):
    offsets = torch.tensor([0, 4, 4, 5, 12])
    values = values_of(2, 12, 3, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: segment_reduce(given, offsets, reduction), values)


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_torch_compile_sees_through(reduction, requires_grad):
    def twice(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return segment_reduce(values * 2, offsets, reduction) + 1

    values, offsets = values_of(3, 12, 3, torch.float32).requires_grad_(requires_grad), torch.tensor([0, 4, 4, 5, 12])
    assert torch.equal(
        torch.compile(twice, backend="aot_eager", fullgraph=True)(values, offsets), twice(values, offsets)
    )


@pytest.mark.skipif(not ARCHITECTURES, reason="the operators are not compiled")
def test_the_operator_is_registered_as_torch_wants_it():
    operator = torch.ops.sparseops.segment_reduce.default
    torch.library.opcheck(operator, (VALUES, OFFSETS, 2), test_utils=("test_schema", "test_faketensor"))
