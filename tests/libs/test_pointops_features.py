"""What pointops makes of features on the processor: values and derivatives against the reference."""

import pointops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from point_scenes import assert_same
from pointops import reference
from pointops_samples import OPERATORS, assert_close


def features_of(seed):
    generator = torch.Generator().manual_seed(seed)

    def floats(*shape):
        return torch.randn(*shape, generator=generator).requires_grad_()

    def index(rows, *shape):
        return torch.randint(-1, rows, shape, generator=generator).int()

    return floats, index


def case(name, seed=0):
    """A function of one output and its arguments, those with derivatives first."""
    floats, index = features_of(seed)
    if name == "grouping2":
        idx = index(30, 20, 5)
        return lambda feat: pointops.grouping2(feat, idx), [floats(30, 7)]
    if name == "grouping":
        idx = index(30, 20, 5)
        return lambda feat, xyz, new: pointops.grouping(idx, feat, xyz, new, True), [
            floats(30, 7),
            floats(30, 3),
            floats(20, 3),
        ]
    if name == "subtraction":
        idx = index(25, 20, 5)
        return lambda a, b: pointops.subtraction(a, b, idx), [floats(20, 6), floats(25, 6)]
    if name == "aggregation":
        idx = index(30, 20, 5)
        return lambda a, p, w: pointops.aggregation(a, p, w, idx), [floats(30, 10), floats(20, 5, 10), floats(20, 5, 4)]
    if name == "interpolation":
        xyz, new = floats(30, 3).detach(), floats(40, 3).detach()
        offset, new_offset = torch.tensor([2, 30]), torch.tensor([10, 40])
        return lambda feat: pointops.interpolation(xyz, new, feat, offset, new_offset), [floats(30, 6)]
    target, refer = index(20, 50), index(20, 50)
    if name == "relation":
        arguments = [floats(20, 3, 4), floats(20, 3, 4), floats(4)]
        return lambda q, k, w: pointops.attention_relation_step(q, k, w, target, refer), arguments
    return lambda w, v: pointops.attention_fusion_step(w, v, target, refer), [floats(50, 3), floats(20, 3, 4)]


CASES = ["grouping2", "grouping", "subtraction", "aggregation", "interpolation", "relation", "fusion"]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    table_rows=st.integers(0, 40),
    rows=st.integers(0, 40),
    degree=st.integers(0, 17),
    channels=st.sampled_from([0, 1, 3, 16, 33]),
    width=st.sampled_from([1, 2, 5]),
)
def test_features_are_those_of_the_reference(seed, table_rows, rows, degree, channels, width):
    floats, index = features_of(seed)
    table, idx = floats(table_rows, channels).detach(), index(table_rows, rows, degree)
    position, weight = floats(rows, degree, channels).detach(), floats(rows, degree, width).detach()
    for name, arguments in (
        ("gather", (table, idx)),
        ("subtract", (floats(rows, channels).detach(), table, idx)),
        ("aggregate", (table, position, weight, idx)),
        ("row_sum", (table, idx, weight[..., 0].contiguous())),
    ):
        assert_close(getattr(OPERATORS, name)(*arguments), getattr(reference, name)(*arguments))
    heads, edges = floats(table_rows, width, channels).detach(), index(table_rows, 2, rows)
    arguments = heads, heads, *edges, floats(channels).detach()
    assert_close(OPERATORS.edge_dot(*arguments), reference.edge_dot(*arguments))
    weight = floats(rows, width).detach()
    assert_close(pointops.attention_fusion_step(weight, heads, *edges), reference.group_sum(weight, heads, *edges))


@pytest.mark.skipif(not pointops.ARCHITECTURES, reason="pointops is not compiled here")
@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_reference(name, monkeypatch):
    function, arguments = case(name)
    found = function(*arguments)
    incoming = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(found, arguments, incoming)
    for module in (pointops.neighbours, pointops.features, pointops.attention):
        monkeypatch.setattr(module, "compiled_for", lambda *tensors: False)
    expected = function(*arguments)
    assert_close(found, expected)
    for one, other in zip(gradients, torch.autograd.grad(expected, arguments, incoming), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "name", ["grouping", "knn_query_and_group", "ball_query_and_group", "query_and_group", "interpolation"]
)
def test_half_features_as_autocast_gives_them(name, dtype):
    """float32 comes of them, as of Pointcept's, and a gradient of their own type."""
    floats, index = features_of(0)
    xyz, new, offset, new_offset = floats(30, 3), floats(20, 3), torch.tensor([10, 30]), torch.tensor([5, 20])
    queries, idx = (xyz.detach(), offset, new.detach(), new_offset), index(30, 20, 4)
    function = {
        "grouping": lambda feat: pointops.grouping(idx, feat, xyz, new, with_xyz=True),
        "knn_query_and_group": lambda feat: pointops.knn_query_and_group(feat, *queries, nsample=4, with_xyz=True)[0],
        "ball_query_and_group": lambda feat: pointops.ball_query_and_group(feat, *queries, None, 0.5, 0, 4, True)[0],
        "query_and_group": lambda feat: pointops.query_and_group(4, *queries[::2], feat, None, *queries[1::2])[0],
        "interpolation": lambda feat: pointops.interpolation(*queries[::2], feat, *queries[1::2]),
    }[name]
    linear, inputs = torch.nn.Linear(6, 8), floats(30, 6)
    with torch.autocast("cpu", dtype):
        feat = linear(inputs)
        found = function(feat)
        (gradient,) = torch.autograd.grad(found.square().sum(), feat)
    assert (feat.dtype, found.dtype, gradient.dtype) == (dtype, torch.float32, dtype)
    with torch.no_grad():
        assert torch.equal(function(feat), found)

    feat = feat.detach().float().requires_grad_()
    expected = function(feat)
    assert torch.equal(found, expected)
    assert torch.equal(gradient, torch.autograd.grad(expected.square().sum(), feat)[0].to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_neighbours_are_found_under_autocast(dtype):
    xyz, offset = torch.rand(30, 3), torch.tensor([10, 30])
    with torch.autocast("cpu", dtype):
        found = *pointops.knn_query(4, xyz, offset), pointops.farthest_point_sampling(xyz, offset, offset // 2)
    expected = *pointops.knn_query(4, xyz, offset), pointops.farthest_point_sampling(xyz, offset, offset // 2)
    assert_same(found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32])
def test_features_that_would_lose_bits_are_told(dtype):
    xyz, offset, idx = torch.rand(30, 3), torch.tensor([10, 30]), torch.zeros(30, 2).int()
    for call in (
        lambda: pointops.grouping(idx, xyz.to(dtype), xyz),
        lambda: pointops.interpolation(xyz, xyz, xyz.to(dtype), offset, offset),
    ):
        with pytest.raises(ValueError, match=f"features is {dtype}, not torch.float32 or torch.float16"):
            call()
