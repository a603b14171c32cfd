"""pointops on a CUDA device against the reference on the processor."""

from pathlib import Path

import numpy as np
import pointops
import pytest
import torch
from effort import rows
from pointops import reference

pytestmark = pytest.mark.gpu
OPERATORS = torch.ops.pointops
GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = [[70], [0, 1, 0], [33, 0, 900, 31], [5000, 3000]]


def golden(case):
    return [
        {key: torch.from_numpy(values).cuda() for key, values in np.load(GOLDEN / case / f"{part}.npz").items()}
        for part in ("input", "output")
    ]


def scene(seed, sizes, side=5.0, lattice=False, broken=False):
    rng = np.random.default_rng(seed)
    coords = rng.uniform(-side / 2, side / 2, (sum(sizes), 3))
    if lattice:
        coords = np.round(coords)
    if broken:
        rows = rng.integers(0, len(coords), 4)
        coords[rows, rng.integers(0, 3, 4)] = [np.nan, np.inf, -np.inf, 3e38]
    return torch.from_numpy(coords.astype("f4")), torch.tensor(sizes).cumsum(0)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.is_cuda
        assert one.dtype == other.dtype
        assert torch.equal(one.cpu(), other)


def assert_close(found, expected):
    torch.testing.assert_close(found.cpu(), expected.cpu(), rtol=1e-5, atol=1e-5)


def on_device(*arguments):
    return [argument.cuda() if isinstance(argument, torch.Tensor) else argument for argument in arguments]


def test_the_goldens_of_neighbours():
    data, expected = golden("op_knn_query")
    xyz, offset, queries, query_offset = (data[name] for name in ("xyz", "offset", "new_xyz", "new_offset"))
    idx, distance = pointops.knn_query(16, xyz, offset)
    assert torch.equal(idx, expected["self_idx"])
    assert_close(distance, expected["self_dist"])
    assert torch.equal(pointops.knn_query(8, xyz, offset, queries, query_offset)[0], expected["new_idx"])
    data, expected = golden("op_ball_query")
    assert torch.equal(pointops.ball_query(12, 0.5, 0.0, xyz, offset)[0], expected["self_idx"])
    assert torch.equal(pointops.ball_query(6, 0.9, 0.3, xyz, offset, queries, query_offset)[0], expected["new_idx"])
    data, expected = golden("op_farthest_point_sampling")
    found = pointops.farthest_point_sampling(data["xyz"], data["offset"], data["new_offset"])
    assert torch.equal(found, expected["idx"])


def test_the_goldens_of_features():
    data, expected = golden("op_grouping")
    found = pointops.grouping(data["idx_new"], data["feat"], data["xyz"], data["new_xyz"], with_xyz=True)
    assert_close(found, expected["grouped_new"])
    data, expected = golden("op_interpolation")
    places = data["src_xyz"], data["xyz"], data["feat"], data["src_offset"], data["offset"]
    assert_close(pointops.interpolation(*places), expected["k3"])
    data, expected = golden("op_subtraction")
    assert_close(pointops.subtraction(data["input1"], data["input2"], data["idx"])[:200], expected["out"])
    data, expected = golden("op_aggregation")
    found = pointops.aggregation(data["input"], data["position"], data["weight"], data["idx"])
    assert_close(found, expected["out"])
    data, expected = golden("op_attention_steps")
    edges = data["index_target"], data["index_refer"]
    relation = pointops.attention_relation_step(data["query"], data["key"], data["weight"], *edges)
    assert_close(relation, expected["relation"])
    assert_close(pointops.attention_fusion_step(relation, data["key"], *edges), expected["fusion"])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (1e6, False, True)])
@pytest.mark.parametrize("k", [1, 8, 11, 16, 29, 77, 128])
def test_knn_query_is_the_reference(sizes, side, lattice, broken, k):
    arguments = *scene(k, sizes, side, lattice, broken), *scene(k + 1, sizes[::-1], side, lattice, broken), k
    expected = reference.knn_query(*arguments)
    assert_same(OPERATORS.knn_query(*on_device(*arguments)), expected)


@pytest.mark.parametrize("sizes", SIZES[:3])
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (9.0, False, True)])
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("radii", [(0.0, 1.1), (1.0, 4.0), (0.0, 1e30)])
def test_ball_query_is_the_reference(sizes, side, lattice, broken, ranked, radii):
    xyz, offset = scene(1, sizes, side, lattice, broken)
    rank = torch.randperm(len(xyz), generator=torch.Generator().manual_seed(0)).int() if ranked else None
    arguments = xyz, offset, xyz, offset, 10, *radii, rank
    expected = reference.ball_query(*arguments)
    assert_same(OPERATORS.ball_query(*on_device(*arguments)), expected)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("side", "lattice", "broken"), [(0.0, False, True), (5.0, True, False), (1e6, False, True)])
def test_farthest_point_sampling_is_the_reference(sizes, side, lattice, broken):
    xyz, offset = scene(1, sizes, side, lattice, broken)
    counts = torch.tensor([min(size, 300) + (size > 0) for size in sizes])
    arguments = xyz, offset, counts.cumsum(0), int(counts.sum())
    expected = reference.farthest_point_sampling(*arguments)
    assert_same([OPERATORS.farthest_point_sampling(*on_device(*arguments))], [expected])


def test_large_clouds_are_the_same_on_the_processor_and_every_time():
    xyz = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([50.0, 50.0, 3.0])
    offset = torch.tensor([80_000, 80_000, 200_000])
    for function, arguments in (
        (pointops.knn_query, (16, xyz, offset)),
        (pointops.ball_query, (16, 0.4, 0.0, xyz, offset)),
        (pointops.farthest_point_sampling, (xyz, offset, offset // 4)),
    ):
        expected = function(*arguments)
        for _ in range(2):
            found = function(*on_device(*arguments))
            if isinstance(found, torch.Tensor):
                assert_same([found], [expected])
            else:
                assert torch.equal(found[0].cpu(), expected[0])
                torch.testing.assert_close(found[1].cpu(), expected[1], rtol=1e-6, atol=0)


def test_few_queries_in_a_large_cloud():
    points, queries = scene(0, [20_000, 15_000]), scene(1, [20, 21])
    for arguments in ((*points, *queries, 4), (*points, *queries, 40)):
        assert_same(OPERATORS.knn_query(*on_device(*arguments)), reference.knn_query(*arguments))


def crowded(number: int, jitter: float, alone: float) -> torch.Tensor:
    """Points of which all but a share ``alone`` are at one of three places, or nearer to it than ``jitter``."""
    rng = np.random.default_rng(number)
    coords = rng.uniform(0, 30, (3, 3))[rng.integers(0, 3, number)] + rng.uniform(0, jitter, (number, 3))
    is_alone = rng.random(number) < alone
    coords[is_alone] = rng.uniform(0, 30, (is_alone.sum(), 3))
    return torch.from_numpy(coords.astype("f4"))


@pytest.mark.parametrize(("jitter", "alone"), [(0.0, 0.0), (0.0, 0.3), (1e-6, 0.3), (1e-4, 0.3)])
@pytest.mark.parametrize("k", [1, 16, 77])
def test_crowds_have_the_neighbours_of_the_reference(jitter, alone, k):
    points = crowded(rows(6000), jitter, alone), torch.tensor([rows(6000)])
    queries = crowded(900, jitter, alone), torch.tensor([900])
    for arguments in ((*points, *points, k), (*points, *queries, k)):
        assert_same(OPERATORS.knn_query(*on_device(*arguments)), reference.knn_query(*arguments))


@pytest.mark.parametrize("alone", [0.0, 0.3])
@pytest.mark.parametrize("ranked", [False, True])
def test_crowds_have_the_balls_of_the_reference(alone, ranked):
    points, queries = (crowded(700, 0.0, alone), torch.tensor([700])), (crowded(90, 0.0, alone), torch.tensor([90]))
    rank = torch.randperm(700, generator=torch.Generator().manual_seed(0)).int() if ranked else None
    for asked in (points, queries):
        arguments = *points, *asked, 10, 0.1, 5.0, rank
        assert_same(OPERATORS.ball_query(*on_device(*arguments)), reference.ball_query(*arguments))


@pytest.mark.parametrize(("jitter", "alone"), [(0.0, 0.0), (0.0, 0.5), (1e-4, 0.5)])
def test_large_crowds_are_those_of_the_processor(jitter, alone):
    xyz, end = crowded(2_000_000, jitter, alone), torch.tensor([2_000_000])
    for k in (16, 64):
        arguments = xyz, end, xyz, end, k
        assert_same(OPERATORS.knn_query(*on_device(*arguments)), OPERATORS.knn_query(*arguments))
    arguments = xyz, end, end // 100, 20_000
    expected = OPERATORS.farthest_point_sampling(*arguments)
    assert_same([OPERATORS.farthest_point_sampling(*on_device(*arguments))], [expected])


def test_a_large_ball_around_one_place_is_drawn_from_once():
    xyz, end = torch.full((200_000, 3), 0.1), torch.tensor([200_000])
    arguments = xyz, end, xyz, end, 8, 0.0, 1.0, None
    assert_same(OPERATORS.ball_query(*on_device(*arguments)), OPERATORS.ball_query(*arguments))


def test_large_balls_are_drawn_from_in_parts():
    xyz = torch.rand(12_000, 3, generator=torch.Generator().manual_seed(0))
    offset, rank = torch.tensor([12_000]), torch.arange(12_000).flip(0).int()
    arguments = xyz, offset, xyz, offset, 5, 0.0, 9.0, rank
    idx, _ = OPERATORS.ball_query(*on_device(*arguments))
    assert torch.equal(idx.cpu(), torch.arange(11_999, 11_994, -1).int().expand(12_000, 5))


@pytest.mark.parametrize("sizes", SIZES[:3])
@pytest.mark.parametrize("queried", [False, True])
def test_random_balls_are_seeded_and_take_any_candidate(sizes, queried):
    xyz, offset = scene(1, sizes)
    queries = scene(2, sizes[::-1]) if queried else ()
    every = pointops.ball_query(len(xyz), 1.1, 0.2, xyz, offset, *queries)[0].sort(1).values
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(pointops.random_ball_query(4, 1.1, 0.2, *on_device(xyz, offset, *queries)))
    assert_same(runs[0], [part.cpu() for part in runs[1]])
    if len(xyz) > 1:
        assert not torch.equal(runs[0][0], runs[2][0])
    idx, distance = (part.cpu() for part in runs[0])
    found, candidates = idx >= 0, every >= 0
    assert torch.equal(found.sum(1), candidates.sum(1).clamp(max=4))
    for row, taken, held in zip(idx, found, every, strict=True):
        assert len(row[taken].unique()) == int(taken.sum())
        assert torch.isin(row[taken], held[held >= 0]).all()
    seen_from = queries[0] if queried else xyz
    true = (xyz[idx.clamp(min=0).long()] - seen_from[:, None]).norm(dim=2)
    assert_close(distance[found], true[found])
    assert (distance[~found] == 1e5).all()


@pytest.mark.parametrize("offset", [[-5, 9, 3], [200, 100, 1 << 60], [0, 0, 1], [64, -(1 << 60), 100]])
def test_offsets_that_do_not_fit_read_nothing_outside(offset):
    xyz, offset, right = on_device(torch.rand(100, 3), torch.tensor(offset), torch.tensor([40, 60, 100]))
    for places in ((xyz, offset, xyz, right), (xyz, right, xyz, offset), (xyz, offset, xyz, offset)):
        for found in (pointops.knn_query(8, *places)[0], pointops.ball_query(8, 0.4, 0.0, *places)[0]):
            assert ((found >= -1) & (found < 100)).all()


def test_what_is_wrong_is_said():
    xyz, offset = torch.rand(10, 3, device="cuda"), torch.tensor([10])
    with pytest.raises(ValueError, match="not on one device"):
        pointops.knn_query(4, xyz, offset)
    with pytest.raises(ValueError, match="not on one device"):
        pointops.grouping2(xyz, torch.zeros(4, 2).int())
