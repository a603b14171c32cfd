"""Ball query and clustering: the golden, and the compiled operators against the reference."""

import numpy as np
import pointgroup_ops
import pointgroup_ops_cuda
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from point_scenes import assert_same
from pointgroup_ops import ballquery_batch_p, bfs_cluster, reference
from pointgroup_samples import MEAN_ACTIVE, RADIUS, THRESHOLD, clouds_of, golden, points_of
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

OPERATORS = torch.ops.pointgroup_ops if pointgroup_ops.ARCHITECTURES else reference
IMPLEMENTATIONS = [pytest.param(reference, id="reference"), pytest.param(OPERATORS, id="compiled")]


# side is that of the space of the points: all in one ball, dense, sparse, cells much larger than the ball
SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "sizes": st.lists(st.integers(0, 80), min_size=1, max_size=5),
        "side": st.sampled_from([0.0, 0.4, 5.0, 60.0, 1e7, 1e30]),
        "origin": st.sampled_from([0.0, -1e3, 5e6]),
        "flat": st.integers(0, 3),
        "lattice": st.booleans(),
        "broken": st.booleans(),
    }
)


def test_ball_query_meets_the_golden():
    given_, expected = golden("input"), golden("output")
    found = ballquery_batch_p(given_["xyz"], given_["batch_idxs"], given_["batch_offsets"], RADIUS, MEAN_ACTIVE)
    assert_same(found, (expected["idx"], expected["start_len"]))
    assert_same(reference.ball_query(given_["xyz"], given_["batch_idxs"], given_["batch_offsets"], RADIUS), found)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_clusters_meet_the_golden(implementation):
    labels, expected = golden("input")["labels"], golden("output")
    found = implementation.bfs_cluster(labels, expected["idx"], expected["start_len"], THRESHOLD)
    assert_same(found, (expected["cluster_idxs"], expected["cluster_offsets"]))


@settings(max_examples=150, deadline=None)
@given(scene=SCENES, radius=st.sampled_from([1e-30, 0.05, 1.0, 1.7, 2.0, 1e3, 1e25]))
def test_ball_query_is_the_reference(scene, radius):
    coords, clouds = points_of(**scene), clouds_of(scene["sizes"])
    assert_same(ballquery_batch_p(coords, *clouds, radius), reference.ball_query(coords, *clouds, radius))


@settings(max_examples=60, deadline=None)
@given(scene=SCENES, classes=st.integers(1, 4), threshold=st.integers(-1, 12))
def test_clusters_are_the_reference(scene, classes, threshold):
    coords, clouds = points_of(**scene), clouds_of(scene["sizes"])
    labels = torch.randint(classes, (len(coords),), generator=torch.Generator().manual_seed(scene["seed"])).int() - 1
    neighbours = ballquery_batch_p(coords, *clouds, 1.0)
    found = bfs_cluster(labels, *neighbours, threshold)
    assert_same(found, reference.bfs_cluster(labels, *neighbours, threshold))

    rows, offsets = found
    point, start = neighbours[0].long(), neighbours[1].long()
    query = torch.arange(len(coords)).repeat_interleave(start[:, 1])
    same = labels[query] == labels[point]
    graph = coo_matrix((np.ones(int(same.sum())), (query[same], point[same])), shape=(len(coords), len(coords)))
    component = torch.from_numpy(connected_components(graph, directed=False)[1]).long() if len(coords) else query
    sizes = component.bincount()
    assert sorted(offsets.diff().tolist()) == sorted(size for size in sizes.tolist() if size >= threshold)
    assert all(len(component[part].unique()) == 1 for part in rows[:, 1].long().split(offsets.diff().tolist()))


def test_a_point_keeps_its_first_thousand_neighbours():
    coords = torch.zeros(2500, 3)
    coords[1::2] = 9.0
    idx, start_len = ballquery_batch_p(coords, *clouds_of([1, 2499]), 1.0)
    assert start_len[:, 1].tolist() == [1, *[1000] * 2499]
    assert torch.equal(idx[1:1001], torch.arange(1, 2001, 2).int())
    assert torch.equal(idx[1001:2001], torch.arange(2, 2002, 2).int())
    assert_same((idx, start_len), reference.ball_query(coords, *clouds_of([1, 2499]), 1.0))


def test_a_large_cloud_in_clumps_and_thin_air_whatever_the_threads():
    rng = np.random.default_rng(5)
    clumps = rng.uniform(0, 30, (4, 3))[rng.integers(0, 4, 7_000)] + rng.normal(0, 0.2, (7_000, 3))
    coords = np.concatenate([clumps, rng.uniform(0, 40, (7_000, 3)), [[1e6, -1e6, 3.0]]])
    coords = torch.from_numpy(rng.permutation(coords).astype(np.float32))
    clouds = clouds_of([4_000, 0, 10_001])
    expected = reference.ball_query(coords, *clouds, 1.0)
    assert 1000 in expected[1][:, 1]
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            assert_same(ballquery_batch_p(coords, *clouds, 1.0), expected)
    finally:
        torch.set_num_threads(threads)


def barely_within_reach(number, side, radius):
    """Pairs of points whose distance, along an axis, is the radius but for some last bits."""
    rng = np.random.default_rng(number)
    middles = rng.uniform(-side, side, (number, 3)).astype(np.float32)
    partners = middles.copy()
    partners[np.arange(number), rng.integers(0, 3, number)] += np.float32(radius * (1 - 1e-6 * rng.random()))
    return torch.from_numpy(np.concatenate([middles, partners]))


@pytest.mark.parametrize("side", [3.0, 300.0, 3e4])
def test_points_barely_within_reach(side):
    coords, clouds = barely_within_reach(2000, side, 1.3), clouds_of([4000])
    expected = reference.ball_query(coords, *clouds, 1.3)
    assert len(expected[0]) > len(coords)
    assert_same(ballquery_batch_p(coords, *clouds, 1.3), expected)


@pytest.mark.parametrize("dynamic", [None, True])
def test_one_graph_holds_the_query(dynamic):
    compiled = torch.compile(ballquery_batch_p, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    arguments = torch.rand(30, 3), *clouds_of([10, 20]), 0.4
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        assert_same(compiled(*arguments), ballquery_batch_p(*arguments))


def test_many_clouds():
    sizes = [3] * 3000
    coords = torch.rand(9000, 3)
    found = ballquery_batch_p(coords, *clouds_of(sizes), 0.5)
    assert_same(found, reference.ball_query(coords, *clouds_of(sizes), 0.5))


@pytest.mark.parametrize("sizes", [[], [0], [0, 0, 0]])
def test_no_points(sizes):
    idx, start_len = ballquery_batch_p(torch.zeros(0, 3), *clouds_of(sizes), 1.0, 300)
    assert (idx.shape, start_len.shape) == ((0,), (0, 2))
    rows, offsets = bfs_cluster(torch.zeros(0, dtype=torch.int32), idx, start_len, 1)
    assert (rows.shape, offsets.tolist()) == ((0, 2), [0])


def ball_query_arguments(**changes):
    batch_idxs, batch_offsets = clouds_of([2, 3])
    arguments = {"coords": torch.rand(5, 3), "batch_idxs": batch_idxs, "batch_offsets": batch_offsets, "radius": 1.0}
    return arguments | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coords": torch.rand(5, 2)}, r"coords .*\(N, 3\), got torch.float32 \(5, 2\) on cpu"),
        ({"coords": torch.rand(5)}, r"coords .*got torch.float32 \(5,\)"),
        ({"coords": torch.rand(5, 3).double()}, r"coords .*torch.float32 .*got torch.float64"),
        ({"coords": torch.rand(3, 5).t()}, r"coords .*contiguous.*got non-contiguous"),
        ({"coords": [[0.0, 0.0, 0.0]]}, "coords .*got list"),
        ({"batch_idxs": clouds_of([2, 3])[0].long()}, r"batch_idxs .*torch.int32 .*got torch.int64"),
        ({"batch_idxs": clouds_of([2, 2])[0]}, r"batch_idxs .*\(5\).*got torch.int32 \(4,\)"),
        ({"batch_idxs": clouds_of([2, 3])[0].to("meta")}, r"batch_idxs .*on cpu, got .*on meta"),
        (
            {name: values.to("meta") for name, values in ball_query_arguments().items() if name != "radius"},
            r"coords .*got torch.float32 \(5, 3\) on meta, which has no values",
        ),
        ({"batch_offsets": torch.zeros(0, dtype=torch.int32)}, "batch_offsets .*at least one entry"),
        ({"radius": 2.0**-150}, "radius must be positive .*got 7.0"),
        ({"radius": 2.0**128 * (1 - 2.0**-25)}, r"radius .*finite.*got 3.4.*e\+38"),
        ({"radius": 0.0}, "radius must be positive .*got 0.0"),
        ({"radius": -1.0}, "radius .*got -1.0"),
        ({"radius": float("nan")}, "radius .*got nan"),
        ({"radius": 1e39}, r"radius .*finite.*got 1e\+39"),
    ],
)
def test_wrong_arguments_of_the_ball_query_are_told(changes, message):
    with pytest.raises(ValueError, match=message):
        ballquery_batch_p(**ball_query_arguments(**changes))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_offsets": torch.tensor([0, 2, 4]).int()}, "rise from 0 to the number of points, 5"),
        ({"batch_offsets": torch.tensor([1, 2, 5]).int()}, "rise from 0 to the number of points, 5"),
        ({"batch_offsets": torch.tensor([0, 9, 2, 5]).int()}, "rise from 0 to the number of points, 5"),
        ({"batch_offsets": torch.tensor([0]).int()}, "rise from 0 to the number of points, 5"),
        ({"batch_idxs": torch.tensor([0, 0, 1, 1, 2]).int()}, r"batch_idxs\[4\] must be 1, .*got 2"),
        ({"batch_idxs": torch.tensor([0, -1, 1, 1, 1]).int()}, r"batch_idxs\[1\] must be 0, .*got -1"),
    ],
)
def test_clouds_that_do_not_fit_are_told(implementation, changes, message):
    with pytest.raises(ValueError, match=message):
        implementation.ball_query(*ball_query_arguments(**changes).values())


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("idxs", "start_len", "message"),
    [
        ([0, 1, 2], [[0, 1], [1, 2]], r"ball_query_idxs\[2\] must be one of the 2 points, got 2"),
        ([0, -1], [[0, 1], [1, 1]], r"ball_query_idxs\[1\] .*got -1"),
        ([0, 1], [[0, 1], [1, 2]], r"start_len\[1\] .*within the 2 .*start 1 and length 2"),
        ([0, 1], [[-1, 1], [1, 1]], r"start_len\[0\] .*start -1"),
        ([0, 1], [[0, 1], [2**31 - 1, 2**31 - 1]], r"start_len\[1\] .*start 2147483647"),
    ],
)
def test_neighbours_that_do_not_exist_are_told(implementation, idxs, start_len, message):
    labels = torch.zeros(2, dtype=torch.int32)
    with pytest.raises(ValueError, match=message):
        implementation.bfs_cluster(labels, torch.tensor(idxs).int(), torch.tensor(start_len).int(), 1)


@pytest.mark.parametrize("position", range(3))
def test_wrong_arguments_of_the_clustering_are_told(position):
    arguments = [torch.zeros(2).int(), torch.tensor([0, 1]).int(), torch.tensor([[0, 1], [1, 1]]).int()]
    arguments[position] = arguments[position].long()
    name = ("semantic_label", "ball_query_idxs", "start_len")[position]
    with pytest.raises(ValueError, match=rf"{name} must be .*torch.int32.*got torch.int64"):
        bfs_cluster(*arguments, 1)


def test_the_inner_module_fills_what_fits_and_tells_how_many_there_are():
    given_, expected = golden("input"), golden("output")
    clouds = given_["batch_idxs"], given_["batch_offsets"]
    num_points = len(given_["xyz"])
    for mean_active in (4, 30):
        idx, start_len = torch.zeros(num_points * mean_active).int(), torch.zeros(num_points, 2).int()
        count = pointgroup_ops_cuda.ballquery_batch_p(
            given_["xyz"], *clouds, idx, start_len, num_points, mean_active, RADIUS
        )
        fitting = min(count, len(idx))
        assert count == len(expected["idx"])
        assert torch.equal(idx[:fitting], expected["idx"][:fitting])
        assert torch.equal(start_len, expected["start_len"])
    rows, offsets = torch.zeros(0).int(), torch.zeros(0).int()
    pointgroup_ops_cuda.bfs_cluster(
        given_["labels"], expected["idx"], expected["start_len"], rows, offsets, num_points, THRESHOLD
    )
    assert_same((rows, offsets), (expected["cluster_idxs"], expected["cluster_offsets"]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"idx": torch.zeros(10)}, r"idx .*torch.int32.*got torch.float32 \(10,\)"),
        ({"idx": torch.zeros(9).int()}, "n \\* mean_active = 10 entries, got 9"),
        ({"start_len": torch.zeros(5, 2).long()}, "start_len .*torch.int32.*got torch.int64"),
        ({"start_len": torch.zeros(5, 3).int()}, r"start_len .*\(5, 2\).*got torch.int32 \(5, 3\)"),
        ({"n": 4}, r"xyz .*\(4, 3\).*got torch.float32 \(5, 3\)"),
        ({"mean_active": -1}, "n \\* mean_active = -5 entries"),
    ],
)
def test_wrong_arguments_of_the_inner_ball_query_are_told(changes, message):
    clouds = clouds_of([2, 3])
    places = {"xyz": torch.rand(5, 3), "batch_idxs": clouds[0], "batch_offsets": clouds[1]}
    filled = {"idx": torch.zeros(10).int(), "start_len": torch.zeros(5, 2).int()}
    with pytest.raises(ValueError, match=message):
        pointgroup_ops_cuda.ballquery_batch_p(**places | filled | {"n": 5, "mean_active": 2, "radius": 1.0} | changes)


@pytest.mark.parametrize(("name", "dtype"), [("cluster_idxs", torch.int64), ("cluster_offsets", torch.float32)])
def test_wrong_outputs_of_the_inner_clustering_are_told(name, dtype):
    outputs = {"cluster_idxs": torch.zeros(0).int(), "cluster_offsets": torch.zeros(0).int()}
    outputs[name] = outputs[name].to(dtype)
    given_ = torch.zeros(1).int(), torch.zeros(1).int(), torch.tensor([[0, 1]]).int()
    with pytest.raises(ValueError, match=f"{name} .*torch.int32.*got {dtype}"):
        pointgroup_ops_cuda.bfs_cluster(*given_, **outputs, n=1, threshold=1)


@pytest.mark.skipif(not pointgroup_ops.ARCHITECTURES, reason="pointgroup_ops is not compiled here")
def test_compiled_by_torch():
    for operator, arguments in (
        (OPERATORS.ball_query, tuple(ball_query_arguments().values())),
        (OPERATORS.bfs_cluster, (torch.zeros(1).int(), torch.zeros(1).int(), torch.tensor([[0, 1]]).int(), 1)),
    ):
        torch.library.opcheck(operator.default, arguments)


@pytest.mark.skipif(
    torch.__version__.startswith("2.5."), reason="torch 2.5 loses sizes that it cannot know at a graph's end"
)
@pytest.mark.skipif(not pointgroup_ops.ARCHITECTURES, reason="pointgroup_ops is not compiled here")
@pytest.mark.parametrize("dynamic", [None, True])
def test_functions_in_a_compiled_one(dynamic):
    def groups(coords, labels, batch_idxs, batch_offsets):
        neighbours = ballquery_batch_p(coords, batch_idxs, batch_offsets, 0.3)
        return *neighbours, *bfs_cluster(labels, *neighbours, 5)

    generator = torch.Generator().manual_seed(3)
    coords, labels = torch.rand(100, 3, generator=generator), torch.randint(2, (100,), generator=generator).int()
    given_ = coords, labels, *clouds_of([60, 40])
    assert_same(torch.compile(groups, backend="aot_eager", dynamic=dynamic)(*given_), groups(*given_))
