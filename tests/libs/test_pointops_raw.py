"""pointops._C: every function fills or adds to tensors of the caller what the public functions and autograd give."""

import inspect
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pointops
import pytest
import torch
from pointops import _C
from pointops_samples import assert_close

GENERATOR = torch.Generator().manual_seed(0)
N, M, K, C, G, E = 30, 20, 4, 6, 2, 50  # points, queries, neighbours, channels, groups, edges
WAYS = ("forward", "backward")


def floats(*shape):
    return torch.randn(shape, generator=GENERATOR)


def index(rows, *shape):
    return torch.randint(-1, rows, shape, generator=GENERATOR).int()


XYZ, OFFSET = floats(N, 3), torch.tensor([10, N]).int()
NEW_XYZ, NEW_OFFSET = floats(M, 3), torch.tensor([5, M]).int()
PLACES = XYZ, NEW_XYZ, OFFSET, NEW_OFFSET
QUERIES = XYZ, OFFSET, NEW_XYZ, NEW_OFFSET
IDX, EDGES = index(N, M, K), (index(M, E), index(M, E))


def filled(*shapes):
    """What the caller may have in a tensor before."""
    return [torch.full(shape, 7.0) for shape in shapes]


@pytest.mark.parametrize("radii", [None, (0.2, 1.5)])
def test_neighbours_are_written_with_squared_distances(radii):
    idx, (dist2,) = torch.full((M, K), 7, dtype=torch.int32), filled((M, K))
    if radii is None:
        _C.knn_query_cuda(M, K, *PLACES, idx, dist2)
        expected, distance = pointops.knn_query(K, *QUERIES)
    else:
        _C.ball_query_cuda(M, K, *radii, *PLACES, idx, dist2)
        expected, distance = pointops.ball_query(K, *radii[::-1], *QUERIES)
    assert torch.equal(idx, expected)
    assert torch.equal(dist2.sqrt(), distance)


def test_random_neighbours_are_the_first_in_the_order_of_the_caller():
    order = torch.cat([torch.randperm(10), 10 + torch.randperm(20)]).int()
    idx, dist2 = torch.zeros(M, K).int(), torch.zeros(M, K)
    _C.random_ball_query_cuda(M, K, 0.2, 1.5, order, *PLACES, idx, dist2)
    every, _ = pointops.ball_query(N, 1.5, 0.2, *QUERIES)
    for query in range(M):
        near = set(every[query].tolist()) - {-1}
        expected = [point for point in order.tolist() if point in near][:K]
        assert idx[query].tolist() == expected + [-1] * (K - len(expected))
        assert_close(dist2[query, : len(expected)], (XYZ[expected] - NEW_XYZ[query]).square().sum(1))


@pytest.mark.parametrize("order", [torch.arange(N).flip(0), torch.zeros(N), torch.arange(N) + 1])
def test_an_order_that_leaves_its_cloud_is_told(order):
    with pytest.raises(ValueError, match=rf"order is \[{int(order[0])}, .*the points of every cloud once"):
        _C.random_ball_query_cuda(M, K, 0.2, 1.5, order.int(), *PLACES, IDX.clone(), torch.zeros(M, K))


def test_samples_are_written():
    idx, (tmp,) = torch.zeros(M).int(), filled((N,))
    _C.farthest_point_sampling_cuda(2, 20, XYZ, OFFSET, NEW_OFFSET, tmp, idx)
    assert torch.equal(idx, pointops.farthest_point_sampling(XYZ, OFFSET, NEW_OFFSET))


def check_derivatives(function, inputs, call, added, written=()):
    """``call(grad_output, *outputs)`` adds the derivatives of ``function`` to outputs, or writes them."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    output = function(*leaves)
    incoming = floats(*output.shape)
    expected = torch.autograd.grad(output, leaves, incoming)
    outputs = filled(*(tensor.shape for tensor in inputs))
    call(incoming, *outputs)
    for place in added:
        assert_close(outputs[place], 7 + expected[place])
    for place in written:
        assert_close(outputs[place], expected[place])


def test_grouping():
    feat, (output,) = floats(N, C), filled((M, K, C))
    _C.grouping_forward_cuda(M, K, C, feat, IDX, output)
    assert torch.equal(output, pointops.grouping2(feat, IDX))
    check_derivatives(
        lambda feat: pointops.grouping2(feat, IDX),
        [feat],
        lambda incoming, by_feat: _C.grouping_backward_cuda(M, K, C, incoming, IDX, by_feat),
        added=[0],
    )


def test_interpolation():
    feat, (output,) = floats(N, C), filled((M, C))
    idx, distance = pointops.knn_query(K, *QUERIES)
    weight = 1 / (distance + 1e-8)
    weight = weight / weight.sum(1, keepdim=True)
    _C.interpolation_forward_cuda(M, C, K, feat, idx, weight, output)
    assert_close(output, 7 + pointops.interpolation(XYZ, NEW_XYZ, feat, OFFSET, NEW_OFFSET, K))
    check_derivatives(
        lambda feat: pointops.interpolation(XYZ, NEW_XYZ, feat, OFFSET, NEW_OFFSET, K),
        [feat],
        lambda incoming, by_feat: _C.interpolation_backward_cuda(M, C, K, incoming, idx, weight, by_feat),
        added=[0],
    )


def test_subtraction():
    inputs, (output,) = [floats(M, C), floats(N, C)], filled((M, K, C))
    _C.subtraction_forward_cuda(M, K, C, *inputs, IDX, output)
    assert torch.equal(output, pointops.subtraction(*inputs, IDX))
    check_derivatives(
        lambda *inputs: pointops.subtraction(*inputs, IDX),
        inputs,
        lambda incoming, *outputs: _C.subtraction_backward_cuda(M, K, C, IDX, incoming, *outputs),
        added=[0, 1],
    )


def test_aggregation():
    inputs, (output,) = [floats(N, C), floats(M, K, C), floats(M, K, 3)], filled((M, C))
    _C.aggregation_forward_cuda(M, K, C, 3, *inputs, IDX, output)
    assert_close(output, 7 + pointops.aggregation(*inputs, IDX))
    check_derivatives(
        lambda *inputs: pointops.aggregation(*inputs, IDX),
        inputs,
        lambda incoming, *outputs: _C.aggregation_backward_cuda(M, K, C, 3, *inputs, IDX, incoming, *outputs),
        added=[0, 2],
        written=[1],
    )


def test_relation_step():
    inputs, (output,) = [floats(M, G, C), floats(M, G, C), floats(C)], filled((E, G))
    _C.attention_relation_step_forward_cuda(E, G, C, *inputs, *EDGES, output)
    assert_close(output, 7 + pointops.attention_relation_step(*inputs, *EDGES))

    def backward(incoming, *outputs):
        pairs = [tensor for pair in zip(inputs, outputs, strict=True) for tensor in pair]
        _C.attention_relation_step_backward_cuda(E, G, C, *pairs, *EDGES, incoming)

    check_derivatives(
        lambda *inputs: pointops.attention_relation_step(*inputs, *EDGES), inputs, backward, added=[0, 1, 2]
    )


def test_fusion_step():
    inputs, (output,) = [floats(E, G), floats(M, G, C)], filled((M, G, C))
    _C.attention_fusion_step_forward_cuda(E, G, C, *inputs, *EDGES, output)
    assert_close(output, 7 + pointops.attention_fusion_step(*inputs, *EDGES))

    def backward(incoming, *outputs):
        pairs = [tensor for pair in zip(inputs, outputs, strict=True) for tensor in pair]
        _C.attention_fusion_step_backward_cuda(E, G, C, *pairs, *EDGES, incoming)

    check_derivatives(lambda *inputs: pointops.attention_fusion_step(*inputs, *EDGES), inputs, backward, added=[0, 1])


def test_a_function_of_autograd_may_be_made_of_them():
    class Grouping(torch.autograd.Function):
        @staticmethod
        def forward(ctx, feat, idx):
            ctx.save_for_backward(idx)
            output = torch.zeros(*idx.shape, feat.shape[1])
            _C.grouping_forward_cuda(*output.shape, feat, idx, output)
            return output

        @staticmethod
        def backward(ctx, incoming):
            (idx,) = ctx.saved_tensors
            by_feat = torch.zeros(N, incoming.shape[2])
            _C.grouping_backward_cuda(*incoming.shape, incoming.contiguous(), idx, by_feat)
            return by_feat, None

    feat = floats(N, C).requires_grad_()
    (found,) = torch.autograd.grad(Grouping.apply(feat, IDX).square().sum(), feat)
    (expected,) = torch.autograd.grad(pointops.grouping2(feat, IDX).square().sum(), feat)
    assert_close(found, expected)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: _C.knn_query_cuda(M + 1, K, *PLACES, IDX.clone(), torch.zeros(M, K)), "m 21, nsample 4.* 20, 4"),
        (lambda: _C.knn_query_cuda(M, 129, *PLACES, IDX.clone(), torch.zeros(M, K)), "nsample is 129"),
        (lambda: _C.ball_query_cuda(M, K, 1.5, 0.2, *PLACES, IDX.clone(), torch.zeros(M, K)), "1.5 and 0.2"),
        (lambda: _C.grouping_forward_cuda(M, K, 5, floats(N, C), IDX, floats(M, K, C)), "c 5; .* 20, 4, 6"),
        (lambda: _C.grouping_forward_cuda(M, K, C, floats(N, C), IDX + N, floats(M, K, C)), "29 … 59"),
        (lambda: _C.grouping_backward_cuda(M, K, C, floats(M, K, C), IDX, IDX), "grad_input is torch.int32"),
    ],
)
def test_what_is_wrong_is_said(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_nothing_is_written_where_one_output_is_wrong():
    idx = torch.full((M, K), 7, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"dist2 has shape \(20, 5\), not \(20, 4\)"):
        _C.knn_query_cuda(M, K, *PLACES, idx, torch.zeros(M, K + 1))
    assert (idx == 7).all()


def test_they_are_those_of_upstream():
    names = {
        f"{name}_{way}_cuda" for name in ("grouping", "interpolation", "subtraction", "aggregation") for way in WAYS
    }
    names |= {f"attention_{name}_step_{way}_cuda" for name in ("relation", "fusion") for way in WAYS}
    names |= {"knn_query_cuda", "ball_query_cuda", "random_ball_query_cuda", "farthest_point_sampling_cuda"}
    assert set(_C.__all__) == names
    assert all(inspect.isfunction(getattr(_C, name)) for name in names)


def test_they_run_without_the_extension():
    program = (
        "import sys; sys.modules['pointops._compiled'] = None\n"
        "import torch\n"
        "from pointops._C import grouping_backward_cuda\n"
        "grad = torch.ones(2, 1)\n"
        "grouping_backward_cuda(2, 1, 1, torch.ones(2, 1, 1), torch.tensor([[1], [1]]), grad)\n"
        "import pointops; print(pointops.ARCHITECTURES, *grad.view(-1).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "() 1.0 3.0\n"


def test_an_extension_of_an_older_build_does_not_hide_them(tmp_path):
    shutil.copytree(Path(pointops.__file__).parent, tmp_path / "pointops")
    (tmp_path / f"pointops/_C{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    program = "import torch; from pointops._C import knn_query_cuda; print('found')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "found\n"
