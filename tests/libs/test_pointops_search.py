"""Neighbours and samples of pointops on the processor: the compiled operators against the reference."""

import pointops
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from point_scenes import assert_same
from pointops import reference
from pointops_samples import OPERATORS, SCENES, assert_close, points_of


@settings(max_examples=80, deadline=None)
@given(SCENES, st.sampled_from([1, 3, 8, 9, 16, 17, 40, 70, 128]), st.booleans())
def test_knn_query_is_the_reference(scene, k, own):
    xyz, offset = points_of(**scene)
    queries, query_offset = (xyz, offset) if own else points_of(**scene | {"seed": 1, "sizes": scene["sizes"][::-1]})
    arguments = xyz, offset, queries, query_offset, k
    assert_same(OPERATORS.knn_query(*arguments), reference.knn_query(*arguments))


@settings(max_examples=80, deadline=None)
@given(SCENES, st.sampled_from([1, 5, 200]), st.sampled_from([(0.0, 1.0), (0.5, 2.0), (0.0, 1e4)]), st.booleans())
def test_ball_query_is_the_reference(scene, samples, radii, ranked):
    xyz, offset = points_of(**scene)
    rank = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0)).int() if ranked else None
    arguments = xyz, offset, xyz, offset, samples, *radii, rank
    assert_same(OPERATORS.ball_query(*arguments), reference.ball_query(*arguments))


@settings(max_examples=80, deadline=None)
@given(SCENES, st.sampled_from([0.1, 1.0, 1.5]))
def test_farthest_point_sampling_is_the_reference(scene, share):
    xyz, offset = points_of(**scene)
    counts = (offset.diff(prepend=offset.new_zeros(1)) * share).long()
    arguments = xyz, offset, counts.cumsum(0), int(counts.sum())
    assert_same([OPERATORS.farthest_point_sampling(*arguments)], [reference.farthest_point_sampling(*arguments)])


def test_random_ball_query_is_seeded_and_takes_any_candidate():
    xyz, offset = torch.rand(400, 3), torch.tensor([100, 400])
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(pointops.random_ball_query(4, 0.5, 0.1, xyz, offset))
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0][0], runs[2][0])
    idx, distance = runs[0]
    found = idx >= 0
    true = (xyz[idx.clamp(min=0).long()] - xyz[:, None]).norm(dim=2)
    assert_close(distance[found], true[found])
    assert ((distance[found] < 0.5) & ((distance[found] >= 0.1) | (distance[found] < 0.0032))).all()
    assert ((idx >= 100) == (torch.arange(400)[:, None] >= 100))[found].all()
