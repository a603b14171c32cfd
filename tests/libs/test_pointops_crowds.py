"""Many points at one place, or nearly so: pointops on the processor against the reference, and at sizes at which every
point looking at all others would take very long."""

import pointops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from point_scenes import assert_same
from pointops import reference
from pointops_samples import OPERATORS, crowded

pytestmark = pytest.mark.skipif(not pointops.ARCHITECTURES, reason="pointops is not compiled here")

CROWDED = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "sizes": st.lists(st.sampled_from([0, 1, 30, 900, 2000]), min_size=1, max_size=3),
        "places": st.sampled_from([1, 3, 40]),
        "jitter": st.sampled_from([0.0, 1e-7, 1e-5]),
        "alone": st.sampled_from([0.0, 0.1, 0.7]),
    }
)
MANY = 400_000


@settings(max_examples=30, deadline=None)
@given(CROWDED, st.sampled_from([1, 8, 16, 40, 128]), st.booleans())
def test_the_nearest_neighbours_are_those_of_the_reference(scene, k, own):
    xyz, offset = crowded(**scene)
    queries, query_offset = (xyz, offset) if own else crowded(**scene | {"sizes": scene["sizes"][::-1]})
    arguments = xyz, offset, queries, query_offset, k
    assert_same(OPERATORS.knn_query(*arguments), reference.knn_query(*arguments))


@settings(max_examples=15, deadline=None)
@given(CROWDED, st.sampled_from([1, 5, 200]), st.sampled_from([(0.0, 0.1), (0.05, 0.3)]), st.booleans())
def test_the_points_in_balls_are_those_of_the_reference(scene, samples, radii, ranked):
    xyz, offset = crowded(**scene | {"sizes": [size // 5 for size in scene["sizes"]]})
    rank = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0)).int() if ranked else None
    arguments = xyz, offset, xyz, offset, samples, *radii, rank
    assert_same(OPERATORS.ball_query(*arguments), reference.ball_query(*arguments))


@settings(max_examples=15, deadline=None)
@given(CROWDED)
def test_samples_are_those_of_the_reference(scene):
    xyz, offset = crowded(**scene)
    arguments = xyz, offset, offset // 4, int(offset[-1] // 4)
    assert_same([OPERATORS.farthest_point_sampling(*arguments)], [reference.farthest_point_sampling(*arguments)])


@pytest.mark.parametrize("k", [1, 16, 128])
def test_neighbours_at_one_place_are_the_first(k):
    xyz, end = torch.full((MANY, 3), 0.1), torch.tensor([MANY])
    index, distance = pointops.knn_query(k, xyz, end)
    assert torch.equal(index, torch.arange(k, dtype=torch.int32).expand(MANY, k))
    assert not distance.any()


def test_neighbours_among_others_and_from_elsewhere():
    """Half of all points are alone, the others at one place, to which as many queries are nearest."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(MANY, generator=generator)
    crowd = (order < MANY // 2).nonzero()[:, 0]
    xyz = torch.rand(MANY, 3, generator=generator) + 1
    xyz[crowd] = 0.5
    end = torch.tensor([MANY])
    index, distance = pointops.knn_query(16, xyz, end)
    assert torch.equal(index[crowd].long(), crowd[:16].expand(len(crowd), 16))
    assert not distance[crowd].any()
    queries = torch.rand(MANY // 2, 3, generator=generator) / 4
    index, distance = pointops.knn_query(16, xyz, end, queries, end // 2)
    assert torch.equal(index.long(), crowd[:16].expand(len(queries), 16))
    expected = reference._distance2(queries, xyz[crowd[:1]])
    assert torch.equal(distance, expected.sqrt().expand(-1, 16))


def test_neighbours_among_points_that_are_nearly_at_one_place():
    """So near that the curve through all points has them in one cell."""
    generator = torch.Generator().manual_seed(0)
    crowd = 37.2 + torch.rand(MANY // 2, 3, generator=generator) * 4e-4
    xyz = torch.cat([crowd, torch.rand(MANY // 2, 3, generator=generator) * 1000])
    end, some = torch.tensor([MANY]), torch.arange(0, MANY, 50_000)
    index, distance2 = OPERATORS.knn_query(xyz, end, xyz, end, 16)
    expected = reference.knn_query(xyz, end, xyz[some].contiguous(), torch.tensor([len(some)]), 16)
    assert_same((index[some], distance2[some]), expected)


@pytest.mark.parametrize("ranked", [False, True])
def test_balls_around_one_place_are_drawn_from_once(ranked):
    number = MANY // 4
    xyz, end = torch.full((number, 3), 0.1), torch.tensor([number])
    rank = torch.arange(number).flip(0).int() if ranked else None
    index, distance2 = OPERATORS.ball_query(xyz, end, xyz, end, 8, 0.0, 1.0, rank)
    assert torch.equal(index, index[:1].expand(number, 8))
    assert len(index[0].unique()) == 8
    if ranked:
        assert torch.equal(index[0], torch.arange(number - 1, number - 9, -1).int())
    assert not distance2.any()


def test_samples_of_one_place():
    xyz, end = torch.full((MANY, 3), 0.1), torch.tensor([MANY])
    xyz[-1] = 0.2
    index = pointops.farthest_point_sampling(xyz, end, end // 4)
    assert index[:2].tolist() == [0, MANY - 1]
    assert not index[2:].any()
