"""The compiled kernel maps and convolutions against the reference, and what the public functions refuse."""

import shutil
import subprocess
import sys

import pytest
import sparseops
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import COORD_LIMIT, KernelMap, pack_weight, reference, sort_voxels, sparse_conv, strided_map
from sparseops import submanifold_map as submanifold

SIDES = st.sampled_from([1, 2, 9, 60, COORD_LIMIT])


def voxels(seed: int, num: int, side: int, batches: int = 2, flat: int = 0) -> torch.Tensor:
    """Distinct voxels in random order, int64 (V, 4), in space, a plane, a line or one place a batch."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randint(0, side, (num, 4), generator=generator)
    coords[:, 0] = torch.randint(0, batches, (num,), generator=generator)
    coords[:, 1 : 1 + flat] = side - 1
    coords = coords.unique(dim=0)
    return coords[torch.randperm(len(coords), generator=generator)].contiguous()


def exact(features, weight, kernel_map, *others) -> torch.Tensor:
    """The reference in float64."""
    given = [other.double() if isinstance(other, torch.Tensor) else other for other in others]
    return reference.sparse_conv(features.double(), weight.flatten(1, 3).double(), kernel_map, *given)


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_the_operators_are_compiled_for_the_processor():
    assert sparseops.ARCHITECTURES[0] == "cpu"


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num=st.integers(0, 500),
    side=SIDES,
    batches=st.sampled_from([1, 3, 512]),
    flat=st.integers(0, 3),
    kernel_size=st.sampled_from([1, 3, 5]),
)
def test_kernel_maps_are_those_of_the_reference(seed, num, side, batches, flat, kernel_size):
    coords = voxels(seed, num, side, batches, flat)
    assert torch.equal(
        submanifold(coords, kernel_size).forwards, reference.submanifold_map(coords, kernel_size).forwards
    )
    (coarse, found), (coarse_expected, expected) = strided_map(coords), reference.strided_map(coords)
    assert torch.equal(coarse, coarse_expected)
    assert torch.equal(found.forwards, expected.forwards)
    assert torch.equal(found.backwards, expected.backwards)
    assert torch.equal(sort_voxels(coords)[0], reference.pack_keys(coords).argsort(stable=True))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num=st.integers(0, 400),
    in_channels=st.integers(0, 70),
    out_channels=st.integers(0, 70),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    others=st.tuples(st.booleans(), st.booleans(), st.sampled_from(["none", "relu", "gelu"])),
    kind=st.sampled_from(["rows", "1", "3", "down", "up"]),
)
def test_convolutions_are_those_of_the_reference(seed, num, in_channels, out_channels, dtype, others, kind):
    torch.manual_seed(seed)
    coords = voxels(seed, num, 9)
    down = strided_map(coords)[1]
    own = submanifold(coords, 1)
    like = {"rows": own, "1": own, "3": submanifold(coords, 3), "down": down, "up": down.inverse()}[kind]
    kernel_map = None if kind == "rows" else like
    size = {"rows": 1, "1": 1, "3": 3}.get(kind, 2)
    weight = torch.randn(out_channels, size, size, size, in_channels, dtype=dtype) / max(in_channels, 1) ** 0.5
    features = torch.randn(like.num_in, in_channels, dtype=dtype)
    with_bias, with_residual, activation = others
    bias = torch.randn(out_channels) if with_bias else None
    residual = torch.randn(like.num_out, out_channels, dtype=dtype) if with_residual else None
    found = sparse_conv(features, pack_weight(weight), kernel_map, bias, residual, activation)
    assert found.dtype == dtype
    times_rounded = 2 if activation == "gelu" else 1
    rounding = 1e-5 if dtype == torch.float32 else times_rounded * 2**-8
    expected = exact(features, weight, kernel_map, bias, residual, activation)
    torch.testing.assert_close(found.double(), expected, rtol=rounding, atol=1e-5 if times_rounded == 1 else rounding)
    assert torch.equal(found, sparse_conv(features, weight, kernel_map, bias, residual, activation))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_to_the_bit_for_any_number_of_threads_and_in_any_company(dtype):
    one, two = voxels(0, 3000, 24, batches=1), voxels(1, 2000, 20, batches=1)
    two[:, 0] = 1
    features = torch.randn(len(one) + len(two), 40, dtype=dtype)
    weight = pack_weight(torch.randn(72, 3, 3, 3, 40, dtype=dtype))
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            results.append(sparse_conv(features, weight, submanifold(torch.cat([one, two]), 3)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(result, results[0]) for result in results)
    alone = sparse_conv(features[: len(one)], weight, submanifold(one, 3))
    assert torch.equal(alone, results[0][: len(one)])


@pytest.mark.parametrize(("out_channels", "in_channels"), [(0, 4), (0, 0), (5, 0)])
def test_no_channels_give_zeros_and_what_is_added(out_channels, in_channels):
    kernel_map = submanifold(torch.tensor([[0, 1, 1, 1], [0, 1, 1, 2]]), 3)
    features, weight = torch.rand(2, in_channels), torch.rand(out_channels, 3, 3, 3, in_channels)
    bias, residual = torch.rand(out_channels), -2 * torch.rand(2, out_channels)
    found = sparse_conv(features, weight, kernel_map, bias, residual, "relu")
    assert torch.equal(found, (bias + residual).relu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("out_channels", "in_channels"), [(20, 5), (0, 5), (20, 0)])
def test_a_packed_weight_in_another_dtype_is_the_one_packed_in_it(dtype, out_channels, in_channels):
    weight = torch.randn(out_channels, 3, 3, 3, in_channels)
    expected = pack_weight(weight.to(dtype))
    packed = pack_weight(weight).to(dtype)
    assert torch.equal(packed.data, expected.data)
    assert (packed.out_channels, packed.num_offsets, packed.in_channels) == (out_channels, 27, in_channels)
    again = packed.to(torch.float32)
    assert torch.equal(again.data, pack_weight(weight.to(dtype).float()).data)


def test_table_entries_that_are_no_rows_count_as_absent():
    features, weight = torch.randn(3, 4), torch.randn(5, 1, 1, 1, 4)
    rows = torch.tensor([[3, -7, 2]], dtype=torch.int32)
    found = sparse_conv(features, weight, KernelMap(rows))
    assert not found[:2].any()
    torch.testing.assert_close(found[2], weight.view(5, 4) @ features[2])


def test_not_a_number_comes_through():
    kernel_map = submanifold(torch.tensor([[0, 1, 1, 1], [0, 1, 1, 2], [0, 5, 5, 5]]), 3)
    features = torch.tensor([[float("nan")], [1.0], [1.0]])
    found = sparse_conv(features, torch.ones(1, 3, 3, 3, 1), kernel_map, activation="relu")
    assert found[:2].isnan().all()
    assert found[2] == 1


def refusals() -> dict:
    coords = voxels(0, 50, 5)
    kernel_map, features = submanifold(coords, 3), torch.randn(len(coords), 4)
    weight = torch.randn(6, 3, 3, 3, 4)
    few = len(coords) - 1

    def conv(*arguments, **named):
        return lambda: sparse_conv(*arguments, **named)

    return {
        r"features must be \(\d+, 4\), torch.float64 on cpu, got \(\d+, 3\)": conv(
            features.double()[:, :3], weight, kernel_map
        ),
        "features must be contiguous, got strides": conv(features.t().contiguous().t(), weight, kernel_map),
        "weight must be .* torch.float32 on cpu, got .* torch.float64": conv(features, weight.double(), kernel_map),
        r"weight must be \(C_out": conv(features, weight[0], kernel_map),
        r"bias must be \(6,\)": conv(features, weight, kernel_map, torch.zeros(5)),
        r"residual must be \(\d+, 6\)": conv(features, weight, kernel_map, residual=torch.zeros(few, 6)),
        "residual must be contiguous": conv(features, weight, kernel_map, residual=torch.zeros(6, len(coords)).t()),
        "activation must be none or relu or gelu, got 'tanh'": conv(features, weight, kernel_map, activation="tanh"),
        "weight has 27 offsets, the kernel map 1": conv(features, weight, None),
        "activation must be 0, 1 or 2, got 3": lambda: torch.ops.sparseops.sparse_conv(
            features, pack_weight(weight).data, 6, kernel_map.forwards, None, None, 3
        ),
        "kernel map must be on cpu": conv(features, weight, KernelMap(kernel_map.forwards.to("meta"))),
        "gives no gradients": conv(features.clone().requires_grad_(), pack_weight(weight), kernel_map),
        r"coords must be contiguous int64 \(V, 4\).*torch.int32": lambda: submanifold(coords.int(), 3),
        "not contiguous": lambda: strided_map(coords.t().contiguous().t()),
        "holds a voxel more than once": lambda: submanifold(torch.cat([coords, coords[:1]]), 3),
        "coords holds a voxel more": lambda: strided_map(torch.cat([coords, coords[:1]])),
        "coords holds a voxel more than": lambda: reference.strided_map(torch.cat([coords, coords[:1]])),
        "kernel_size must be odd, from 1 to 7, got 9": lambda: submanifold(coords, 9),
        "weight, BFloat16": lambda: torch.ops.sparseops.sparse_conv(
            features, pack_weight(weight.bfloat16()).data, 6, kernel_map.forwards, None, None, 0
        ),
        "rows must be contiguous int32": lambda: torch.ops.sparseops.sparse_conv(
            features, pack_weight(weight).data, 6, kernel_map.forwards.long(), None, None, 0
        ),
    }


@pytest.mark.parametrize("message", refusals())
def test_what_is_wrong_is_told(message):
    with pytest.raises(ValueError, match=message):
        refusals()[message]()


def test_the_operators_are_registered_as_torch_wants_them():
    coords = voxels(0, 60, 6)
    kernel_map, features, weight = submanifold(coords, 3), torch.randn(len(coords), 5), torch.randn(20, 27, 5)
    operators = torch.ops.sparseops
    packed = operators.pack_weight(weight)
    for operator, arguments in [
        (operators.sort_voxels, (coords,)),
        (operators.submanifold_map, (coords, 3)),
        (operators.strided_map, (coords,)),
        (operators.pack_weight, (weight,)),
        (operators.pack_weight, (weight.bfloat16(),)),
        (operators.sparse_conv, (features, packed, 20, kernel_map.forwards, torch.randn(20), None, True)),
    ]:
        torch.library.opcheck(operator.default, arguments)


def test_torch_compile_sees_through():
    coords = voxels(0, 60, 6)
    kernel_map, weight = submanifold(coords, 3), pack_weight(torch.randn(20, 3, 3, 3, 5))

    def twice(features: torch.Tensor) -> torch.Tensor:
        return sparse_conv(features * 2, weight, kernel_map, activation="relu") + 1

    features = torch.randn(len(coords), 5)
    assert torch.equal(torch.compile(twice, backend="aot_eager", fullgraph=True)(features), twice(features))


def test_without_the_extension_the_reference_runs():
    program = (
        "import sys; sys.modules['sparseops._compiled'] = None\n"
        "import torch, sparseops\n"
        "coords = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 2]])\n"
        "weight = sparseops.pack_weight(torch.ones(1, 3, 3, 3, 1))\n"
        "print(sparseops.ARCHITECTURES, *sparseops.sparse_conv(torch.ones(2, 1), weight, "
        "sparseops.submanifold_map(coords, 3)).view(-1).tolist(), sparseops.sort_voxels(coords)[0].tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "() 2.0 2.0 [0, 1]\n"
