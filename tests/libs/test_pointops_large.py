"""pointops on the processor with up to 300,000 points, by any number of threads."""

import pointops
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from large_clouds import (
    LARGE,
    LATTICE,
    NUMBERS,
    WHOLE,
    by_any_threads,
    few_examples,
    nearest_distances,
    pairs_within,
    points_of,
    some_rows,
    squared_distances,
)
from point_scenes import assert_same
from pointops import reference
from pointops_samples import OPERATORS
from scipy.spatial import cKDTree

pytestmark = pytest.mark.skipif(not pointops.ARCHITECTURES, reason="pointops is not compiled here")


@few_examples
@example(scene=WHOLE, k=8)
@given(scene=LARGE, k=st.sampled_from([1, 8, 16]))
def test_the_nearest_neighbours(scene, k):
    xyz, sizes = points_of(**scene)
    offset = torch.tensor(sizes).cumsum(0)
    found = by_any_threads(lambda: OPERATORS.knn_query(xyz, offset, xyz, offset, k))
    rows, row_offset = some_rows(offset, 64)
    expected = reference.knn_query(xyz, offset, xyz[rows], row_offset, k)
    assert_same([part[rows] for part in found], expected)

    rows, row_offset = some_rows(offset, 20_000)
    row_sizes = row_offset.diff(prepend=row_offset.new_zeros(1)).tolist()
    expected = nearest_distances(xyz, sizes, rows, row_sizes, k)
    torch.testing.assert_close(found[1][rows].double().sqrt(), expected, rtol=1e-6, atol=1e-12)


@few_examples
@example(scene=WHOLE, samples=5, radii=(0.0, 1.5), ranked=True)
@example(scene=LATTICE, samples=40, radii=(1.0, 2.0), ranked=False)
@given(
    scene=LARGE,
    samples=st.sampled_from([1, 5, 40]),
    radii=st.sampled_from([(0.0, 1.5), (0.0, 1.0), (1.0, 1.5)]),
    ranked=st.booleans(),
)
def test_the_points_in_balls(scene, samples, radii, ranked):
    xyz, sizes = points_of(**scene)
    offset = torch.tensor(sizes).cumsum(0)
    rank = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0)).int() if ranked else None
    found = by_any_threads(lambda: OPERATORS.ball_query(xyz, offset, xyz, offset, samples, *radii, rank))
    rows, row_offset = some_rows(offset, 64)
    expected = reference.ball_query(xyz, offset, xyz[rows], row_offset, samples, *radii, rank)
    assert_same([part[rows] for part in found], expected)

    query, point, distance2 = pairs_within(xyz, sizes, radii[1])
    candidate = (distance2 <= reference.SAME_POINT_DISTANCE2) | (distance2 >= radii[0] ** 2)
    query, point = query[candidate], point[candidate]
    idx, present = found[0].long(), found[0] >= 0
    assert torch.equal(present.sum(1), query.bincount(minlength=len(xyz)).clamp(max=samples))
    row, place = present.nonzero().unbind(1)
    taken = row * len(xyz) + idx[row, place]
    assert len(taken.unique()) == len(taken)
    assert torch.isin(taken, query * len(xyz) + point).all()
    assert torch.equal(found[1][present], squared_distances(xyz[row], xyz[idx[row, place]]))


@few_examples
@example(scene=WHOLE)
@given(scene=LARGE)
def test_samples_are_farthest_points(scene):
    xyz, sizes = points_of(**scene)
    sizes = torch.tensor(sizes)
    offset = sizes.cumsum(0)
    few = sizes.clamp(max=max(1, 300 // len(sizes)))
    many = torch.maximum(few, sizes // 4)
    expected = reference.farthest_point_sampling(xyz, offset, few.cumsum(0), int(few.sum()))
    (found,) = by_any_threads(lambda: [OPERATORS.farthest_point_sampling(xyz, offset, many.cumsum(0), int(many.sum()))])
    samples = found.split(many.tolist())
    assert_same([part[:number] for part, number in zip(samples, few, strict=True)], expected.split(few.tolist()))

    largest = int(sizes.argmax())
    cloud, chosen = xyz.split(sizes.tolist())[largest], xyz[samples[largest].long()]
    cloud, chosen = (part[part.isfinite().all(1)].double().numpy() for part in (cloud, chosen))
    for step in {len(chosen) // 10, len(chosen) // 2, len(chosen) - 1} - {-1, 0}:
        before = cKDTree(chosen[:step])
        assert before.query(chosen[step])[0] >= before.query(cloud)[0].max() * (1 - 1e-6)


def features_of(rows, index_rows):
    generator = torch.Generator().manual_seed(rows)

    def floats(*shape):
        return torch.randn(*shape, generator=generator)

    def index(*shape):
        return torch.randint(-1, rows, shape, generator=generator).int()

    idx, edges = index(index_rows, 5), index(2, index_rows)
    table, heads = floats(rows, 6), floats(rows, 2, 4)
    return {
        "gather": ([table], [idx]),
        "subtract": ([floats(index_rows, 6), table], [idx]),
        "aggregate": ([table, floats(index_rows, 5, 6), floats(index_rows, 5, 3)], [idx]),
        "row_sum": ([table, floats(index_rows, 5)], [idx]),
        "edge_dot": ([heads, floats(rows, 2, 4), floats(4)], [*edges]),
        "fusion": ([floats(index_rows, 2), heads], [*edges]),
    }


def called(name, operators, floats, index):
    if name == "row_sum":
        return operators.row_sum(floats[0], *index, floats[1])
    if name == "edge_dot":
        return operators.edge_dot(*floats[:2], *index, floats[2])
    if name == "fusion":
        fuse = reference.group_sum if operators is reference else pointops.attention_fusion_step
        return fuse(*floats, *index)
    return getattr(operators, name)(*floats, *index)


@pytest.mark.parametrize("name", features_of(1, 1))
@few_examples
@example(rows=300_000, index_rows=300_000)
@given(rows=NUMBERS | st.just(100), index_rows=NUMBERS)
def test_features_and_derivatives_are_those_of_the_reference_in_float64(name, rows, index_rows):
    floats, index = features_of(rows, index_rows)[name]

    def values_and_derivatives(operators, dtype):
        given = [tensor.to(dtype).requires_grad_() for tensor in floats]
        out = called(name, operators, given, index)
        incoming = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        return [out.detach(), *torch.autograd.grad(out, given, incoming)]

    found = by_any_threads(lambda: values_and_derivatives(OPERATORS, torch.float32))
    rounding = 1e-4 + 1e-6 * index_rows / max(rows, 1)  # a derivative is the sum of so many terms
    for one, other in zip(found, values_and_derivatives(reference, torch.float64), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=rounding)
