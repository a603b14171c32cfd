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


def test_many_points_are_found_by_any_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    xyz = torch.rand(300_000, 3, generator=generator) * torch.tensor([100.0, 100.0, 0.1])
    xyz[17] = 1e6
    offset, samples = torch.tensor([100_000, 100_000, 300_000]), torch.tensor([5_000, 5_000, 15_000])
    rows = torch.randperm(300_000, generator=generator)[:40]
    results, threads_before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            idx, distance = pointops.knn_query(16, xyz, offset)
            ball, _ = pointops.ball_query(8, 0.5, 0.0, xyz, offset)
            results.append((idx, distance, ball, pointops.farthest_point_sampling(xyz, offset, samples)))
    finally:
        torch.set_num_threads(threads_before)
    assert_same(*results)
    for begin, end in ((0, 100_000), (100_000, 300_000)):
        inside = rows[(rows >= begin) & (rows < end)]
        d2 = (xyz[inside, None].double() - xyz[begin:end].double()).square().sum(2)
        expected = d2.topk(16, largest=False).values.sqrt()
        torch.testing.assert_close(results[0][1][inside].double(), expected, rtol=1e-5, atol=1e-6)
        assert ((results[0][0][inside] >= begin) & (results[0][0][inside] < end)).all()


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
