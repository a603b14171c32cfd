"""torch.compile of every public function of pointops: one graph, the same results, gradients and refusals."""

import pointops
import pytest
import torch
from pointops_samples import assert_close

pytestmark = pytest.mark.skipif(not pointops.ARCHITECTURES, reason="pointops is not compiled here")

GENERATOR = torch.Generator().manual_seed(0)


def floats(*shape):
    return torch.rand(shape, generator=GENERATOR)


def index(rows, *shape):
    return torch.randint(-1, rows, shape, generator=GENERATOR).int()


XYZ, OFFSET = floats(30, 3), torch.tensor([10, 30])
NEW_XYZ, NEW_OFFSET = floats(20, 3), torch.tensor([5, 20])
QUERIES = XYZ, OFFSET, NEW_XYZ, NEW_OFFSET
FEAT, IDX, HEADS = floats(30, 6), index(30, 20, 4), floats(20, 2, 4)
EDGES = index(20, 50), index(20, 50)

CALLS = {
    pointops.knn_query: (5, *QUERIES),
    pointops.ball_query: (5, 0.4, 0.1, *QUERIES),
    pointops.farthest_point_sampling: (XYZ, OFFSET, NEW_OFFSET),
    pointops.neighbour_moments: (IDX, 3, XYZ, NEW_XYZ),
    pointops.grouping: (IDX, FEAT.half(), XYZ, NEW_XYZ, True),
    pointops.grouping2: (FEAT, IDX),
    pointops.subtraction: (floats(20, 6), FEAT, IDX),
    pointops.aggregation: (FEAT, floats(20, 4, 6), floats(20, 4, 3), IDX),
    pointops.interpolation: (XYZ, NEW_XYZ, FEAT.bfloat16(), OFFSET, NEW_OFFSET),
    pointops.attention_relation_step: (HEADS, floats(20, 2, 4), floats(4), *EDGES),
    pointops.attention_fusion_step: (floats(50, 2), HEADS, *EDGES),
    pointops.knn_query_and_group: (FEAT, *QUERIES, None, 4, True),
    pointops.ball_query_and_group: (FEAT, *QUERIES, None, 0.4, 0.0, 4, True),
    pointops.query_and_group: (4, XYZ, NEW_XYZ, FEAT, None, OFFSET, NEW_OFFSET, 2),
    pointops.offset2batch: (OFFSET,),
    pointops.batch2offset: (torch.tensor([0, 0, 1, 3]),),
}
DIFFERENTIABLE = {
    pointops.grouping: [1],
    pointops.grouping2: [0],
    pointops.subtraction: [0, 1],
    pointops.aggregation: [0, 1, 2],
    pointops.interpolation: [2],
    pointops.attention_relation_step: [0, 1, 2],
    pointops.attention_fusion_step: [0, 1],
}


@pytest.fixture(autouse=True)
def one_graph():
    """How many samples or clouds there are is a number in an offset: torch follows it where it is told to."""
    with torch._dynamo.config.patch(capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True):
        yield
    torch._dynamo.reset()


def compiled(function, dynamic=None):
    return torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=dynamic)


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_the_results_are_the_same(function, dynamic):
    if function is pointops.batch2offset and torch.__version__.startswith("2.5."):
        pytest.skip("torch 2.5 cannot trace bincount")
    found, expected = compiled(function, dynamic)(*CALLS[function]), function(*CALLS[function])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("function", DIFFERENTIABLE, ids=lambda function: function.__name__)
def test_the_gradients_are_the_same(function):
    def gradients(called):
        arguments = list(CALLS[function])
        leaves = [arguments[place].clone().requires_grad_() for place in DIFFERENTIABLE[function]]
        for place, leaf in zip(DIFFERENTIABLE[function], leaves, strict=True):
            arguments[place] = leaf
        return torch.autograd.grad(called(*arguments).square().sum(), leaves)

    torch.testing.assert_close(gradients(compiled(function)), gradients(function))


def test_random_neighbours_are_neighbours():
    idx, distance = compiled(pointops.random_ball_query)(4, 0.5, 0.1, XYZ, OFFSET)
    found = idx >= 0
    assert_close(distance[found], (XYZ[idx.clamp(min=0).long()] - XYZ[:, None]).norm(dim=2)[found])
    assert ((distance[found] < 0.5) & ((distance[found] >= 0.1) | (distance[found] < 0.0032))).all()
    assert ((idx >= 10) == (torch.arange(30)[:, None] >= 10))[found].all()
    every, _ = pointops.ball_query(30, 0.5, 0.1, XYZ, OFFSET)
    assert torch.equal(found.sum(1), (every >= 0).sum(1).clamp(max=4))


@pytest.mark.parametrize(
    ("function", "place", "wrong", "said"),
    [
        (pointops.knn_query, 2, OFFSET - 1, "offset of xyz ends with 29; xyz has 30"),
        (pointops.knn_query, 4, torch.tensor([40, 20]), r"offset of new_xyz is \[40, 20\]"),
        (pointops.farthest_point_sampling, 1, torch.tensor([0, 30]), r"\[0, 30\] points cannot give \[5, 15\]"),
        (pointops.grouping2, 1, IDX * 0 + 30, "30 … 30; indices of 30 rows"),
        (pointops.attention_fusion_step, 2, EDGES[0] * 0 - 2, "-2 … -2"),
    ],
)
def test_values_are_looked_at_when_the_graph_runs(function, place, wrong, said):
    arguments, called = CALLS[function], compiled(function)
    called(*arguments)
    with pytest.raises(ValueError, match=said):
        called(*arguments[:place], wrong, *arguments[place + 1 :])


def test_no_public_function_is_forgotten():
    functions = {getattr(pointops, name) for name in pointops.__all__ if callable(getattr(pointops, name))}
    assert functions == CALLS.keys() | {pointops.random_ball_query}
