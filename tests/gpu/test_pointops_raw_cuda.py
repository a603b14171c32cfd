"""pointops._C and torch.compile on a CUDA device against the processor."""

import pointops
import pytest
import torch
from pointops import _C

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
N, M, K, C, W, G, E = 300, 200, 5, 8, 4, 2, 500  # points, queries, neighbours, channels, weights, groups, edges


def cases():
    generator = torch.Generator().manual_seed(0)

    def floats(*shape):
        return torch.randn(shape, generator=generator)

    def index(rows, *shape):
        return torch.randint(-1, rows, shape, generator=generator).int()

    places = floats(N, 3), floats(M, 3), torch.tensor([100, N]).int(), torch.tensor([50, M]).int()
    order = torch.cat([torch.randperm(100, generator=generator), 100 + torch.randperm(200, generator=generator)]).int()
    found = index(N, M, K), floats(M, K)
    features, position, weight, idx = floats(N, C), floats(M, K, C), floats(M, K, W), index(N, M, K)
    edges, heads = (index(M, E), index(M, E)), floats(M, G, C)
    aggregated = (M, K, C, W, features, position, weight, idx)
    return {
        "knn_query": (M, K, *places, *found),
        "ball_query": (M, K, 0.2, 0.9, *places, *found),
        "random_ball_query": (M, K, 0.2, 0.9, order, *places, *found),
        "farthest_point_sampling": (2, 200, places[0], *places[2:], floats(N), index(N, M)),
        "grouping_forward": (M, K, C, features, idx, floats(M, K, C)),
        "grouping_backward": (M, K, C, floats(M, K, C), idx, floats(N, C)),
        "interpolation_forward": (M, C, K, features, idx, floats(M, K), floats(M, C)),
        "interpolation_backward": (M, C, K, floats(M, C), idx, floats(M, K), floats(N, C)),
        "subtraction_forward": (M, K, C, floats(M, C), features, idx, floats(M, K, C)),
        "subtraction_backward": (M, K, C, idx, floats(M, K, C), floats(M, C), floats(N, C)),
        "aggregation_forward": (*aggregated, floats(M, C)),
        "aggregation_backward": (*aggregated, floats(M, C), floats(N, C), floats(M, K, C), floats(M, K, W)),
        "attention_relation_step_forward": (E, G, C, heads, floats(M, G, C), floats(C), *edges, floats(E, G)),
        "attention_relation_step_backward": (
            *(E, G, C, heads, floats(M, G, C), floats(M, G, C), floats(M, G, C), floats(C), floats(C)),
            *(*edges, floats(E, G)),
        ),
        "attention_fusion_step_forward": (E, G, C, floats(E, G), heads, *edges, floats(M, G, C)),
        "attention_fusion_step_backward": (
            *(E, G, C, floats(E, G), floats(E, G), heads, floats(M, G, C), *edges, floats(M, G, C)),
        ),
    }


def on(device, arguments):
    """Copies of the tensors on ``device``."""
    return [one.clone().to(device) if isinstance(one, torch.Tensor) else one for one in arguments]


@pytest.mark.parametrize("name", list(cases()))
def test_the_functions_underneath_fill_what_they_fill_on_the_processor(name):
    expected, found = (on(device, cases()[name]) for device in ("cpu", DEVICE))
    for arguments in (expected, found):
        getattr(_C, f"{name}_cuda")(*arguments)
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_graph_under_autocast(dtype):
    xyz, offset, feat = on(DEVICE, (torch.rand(N, 3), torch.tensor([100, N]), torch.rand(N, C)))
    linear = torch.nn.Linear(C, C, device=DEVICE)

    def network(feat):
        with torch.autocast(DEVICE, dtype):
            feat = linear(feat)
            grouped, _ = pointops.query_and_group(K, xyz, xyz, feat, None, offset, offset, dilation=1)
            return pointops.interpolation(xyz, xyz, feat, offset, offset) + grouped[..., 3:].sum(1)

    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    found, expected = compiled(feat), network(feat)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(out.square().sum(), linear.weight)[0] for out in (found, expected)]
    torch.testing.assert_close(*gradients)
