"""What pointops makes of features on the processor: values and derivatives against the reference."""

import pointops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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
