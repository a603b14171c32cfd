"""pointops on the processor: the goldens, groups, and what is refused."""

import pointops
import pytest
import torch
from pointops_samples import assert_close, golden


@pytest.fixture(params=["reference", "compiled"])
def implementation(request, monkeypatch):
    if request.param == "reference":
        for module in (pointops.neighbours, pointops.sampling, pointops.features, pointops.attention):
            monkeypatch.setattr(module, "compiled_for", lambda *tensors: False)
    elif not pointops.ARCHITECTURES:
        pytest.skip("pointops is not compiled here")


def test_knn_query_meets_the_golden(implementation):
    data, expected = golden("op_knn_query")
    idx, distance = pointops.knn_query(16, data["xyz"], data["offset"])
    assert torch.equal(idx, expected["self_idx"])
    assert_close(distance, expected["self_dist"])
    idx, distance = pointops.knn_query(8, data["xyz"], data["offset"], data["new_xyz"], data["new_offset"])
    assert torch.equal(idx, expected["new_idx"])
    assert_close(distance, expected["new_dist"])


def test_ball_query_meets_the_golden(implementation):
    data, expected = golden("op_ball_query")
    for samples, radii, queries, name in (
        (12, (0.5, 0.0), (), "self"),
        (6, (0.9, 0.3), (data["new_xyz"], data["new_offset"]), "new"),
    ):
        idx, distance = pointops.ball_query(samples, *radii, data["xyz"], data["offset"], *queries)
        assert torch.equal(idx, expected[f"{name}_idx"])
        few = (idx < 0).any(1)  # elsewhere the golden holds roots of indices
        assert few.any()
        assert_close(distance[few], expected[f"{name}_dist"][few])


def test_farthest_point_sampling_meets_the_golden(implementation):
    data, expected = golden("op_farthest_point_sampling")
    idx = pointops.farthest_point_sampling(data["xyz"], data["offset"], data["new_offset"])
    assert torch.equal(idx, expected["idx"])


def test_grouping_meets_the_golden(implementation):
    data, expected = golden("op_grouping")
    own = data["xyz"][:300]
    for idx, queries, name in ((data["idx"], own, "grouped"), (data["idx_new"], data["new_xyz"], "grouped_new")):
        grouped = pointops.grouping(idx, data["feat"], data["xyz"], queries, with_xyz=True)
        assert_close(grouped, expected[name])
        assert_close(pointops.grouping(idx, data["feat"], data["xyz"], queries), expected[name][..., 3:])
        assert_close(pointops.grouping2(data["feat"], idx), expected[name][..., 3:])


def test_interpolation_meets_the_golden(implementation):
    data, expected = golden("op_interpolation")
    places = data["src_xyz"], data["xyz"], data["feat"], data["src_offset"], data["offset"]
    assert_close(pointops.interpolation(*places), expected["k3"])
    found, known = pointops.interpolation2(*places, 4), expected["k4"].isfinite().all(1)
    assert_close(found[known], expected["k4"][known])
    assert found.isfinite().all()


def test_subtraction_meets_the_golden(implementation):
    data, expected = golden("op_subtraction")
    found = pointops.subtraction(data["input1"], data["input2"], data["idx"])
    assert_close(found[:200], expected["out"])


def test_aggregation_meets_the_golden(implementation):
    data, expected = golden("op_aggregation")
    found = pointops.aggregation(data["input"], data["position"], data["weight"], data["idx"])
    assert_close(found, expected["out"])


def test_attention_steps_meet_the_golden(implementation):
    data, expected = golden("op_attention_steps")
    edges = data["index_target"], data["index_refer"]
    relation = pointops.attention_relation_step(data["query"], data["key"], data["weight"], *edges)
    assert_close(relation, expected["relation"])
    fusion = pointops.attention_fusion_step(expected["relation"], data["key"], *edges)
    assert_close(fusion, expected["fusion"])


def test_a_missing_neighbour_takes_nothing_from_the_first_row(implementation):
    broken, missing = torch.full((1, 2), torch.nan), torch.tensor([[-1]])
    assert torch.equal(pointops.subtraction(torch.ones(1, 2), broken, missing), torch.ones(1, 1, 2))
    assert torch.equal(pointops.grouping2(broken, missing), torch.zeros(1, 1, 2))
    assert torch.equal(
        pointops.aggregation(broken, torch.ones(1, 1, 2), torch.ones(1, 1, 1), missing), torch.zeros(1, 2)
    )


def test_tables_and_queries_without_rows(implementation):
    missing = torch.tensor([[-1], [-1]])
    assert torch.equal(pointops.subtraction(torch.ones(2, 3), torch.zeros(0, 3), missing), torch.ones(2, 1, 3))
    feat = torch.rand(40, 3, requires_grad=True)
    pointops.grouping2(feat, torch.zeros(0, 4).int()).sum().backward()
    assert torch.equal(feat.grad, torch.zeros(40, 3))
    query, key = torch.rand(40, 2, 3, requires_grad=True), torch.rand(0, 2, 3, requires_grad=True)
    edges = torch.tensor([0, 1]), torch.tensor([-1, -1])
    pointops.attention_relation_step(query, key, torch.ones(3), *edges).sum().backward()
    assert torch.equal(query.grad, torch.zeros(40, 2, 3))
    assert key.grad.shape == (0, 2, 3)


@pytest.mark.skipif(not pointops.ARCHITECTURES, reason="pointops is not compiled here")
def test_shapes_are_known_without_data():
    xyz, offset, idx = torch.rand(30, 3), torch.tensor([10, 30]), torch.randint(0, 30, (30, 4)).int()
    operators, feat, edges = torch.ops.pointops, torch.rand(30, 8), torch.randint(0, 30, (50,)).int()
    heads = torch.rand(30, 2, 4)
    for operator, arguments in (
        (operators.knn_query, (xyz, offset, xyz, offset, 5)),
        (operators.ball_query, (xyz, offset, xyz, offset, 5, 0.0, 0.3, None)),
        (operators.farthest_point_sampling, (xyz, offset, offset // 2, 15)),
        (operators.gather, (feat, idx)),
        (operators.subtract, (feat, feat, idx)),
        (operators.aggregate, (feat, torch.rand(30, 4, 8), torch.rand(30, 4, 2), idx)),
        (operators.row_sum, (feat, idx, torch.rand(30, 4))),
        (operators.edge_dot, (heads, heads, edges, edges, torch.rand(4))),
        (operators.edge_sum, (heads, edges, edges, torch.rand(50, 2), 30, 1, 4)),
    ):
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def test_groups_of_upstream(implementation):
    xyz, feat, offset = torch.rand(50, 3), torch.rand(50, 6), torch.tensor([7, 50])
    new_xyz, new_offset = xyz[::2].contiguous(), torch.tensor([4, 25])
    for queries in ((None, None), (new_xyz, new_offset)):
        grouped, idx = pointops.knn_query_and_group(feat, xyz, offset, *queries, nsample=4, with_xyz=True)
        again, same = pointops.knn_query_and_group(feat, xyz, new_xyz=queries[0], idx=idx, with_xyz=True)
        assert same is idx
        assert torch.equal(grouped, again)
        seen_from = xyz if queries[0] is None else new_xyz
        assert_close(grouped[..., :3], xyz[idx.long()] - seen_from[:, None])
        grouped, idx = pointops.ball_query_and_group(feat, xyz, offset, *queries, max_radio=0.6, nsample=4)
        assert torch.equal(grouped[idx < 0], torch.zeros(int((idx < 0).sum()), 6))
        assert torch.equal(grouped[idx >= 0], feat[idx[idx >= 0].long()])


def test_query_and_group_dilates(implementation):
    xyz, feat, offset = torch.rand(50, 3), torch.rand(50, 6), torch.tensor([7, 50])
    wide, _ = pointops.knn_query(10, xyz, offset)
    grouped, idx = pointops.query_and_group(4, xyz, None, feat, None, offset, offset, dilation=2)
    assert torch.equal(idx[7:], wide[7:, [0, 3, 6, 9]])
    assert torch.equal(idx[:7], wide[:7, [0, 2, 4, 6]])
    assert torch.equal(grouped[..., 3:], feat[idx.long()])
    assert torch.equal(pointops.query_and_group(4, xyz, xyz, feat, idx, offset, offset, with_feat=False), idx)


def test_query_and_group_spreads_over_every_small_cloud(implementation):
    sizes, queries = [1, 0, 2, 5, 6, 7, 12, 3], [3, 2, 0, 4, 1, 2, 9, 0]
    offset, new_offset = torch.tensor(sizes).cumsum(0).int(), torch.tensor(queries).cumsum(0).int()
    xyz, new_xyz = torch.rand(sum(sizes), 3), torch.rand(sum(queries), 3)
    for nsample, dilation in ((4, 1), (4, 0), (1, 5), (6, 2)):
        reach = 1 + (nsample - 1) * (dilation + 1)
        wide, _ = pointops.knn_query(reach, xyz, offset, new_xyz, new_offset)
        idx = pointops.query_and_group(nsample, xyz, new_xyz, xyz, None, offset, new_offset, dilation, with_feat=False)
        cloud = torch.arange(len(sizes)).repeat_interleave(torch.tensor(queries))
        for query, size in enumerate(torch.tensor(sizes)[cloud].tolist()):
            step = dilation + 1 if size >= reach or nsample == 1 else (size - 1) / (nsample - 1)
            assert torch.equal(idx[query], wide[query, [int(step * sample) for sample in range(nsample)]])


def test_offsets_and_batches():
    offset = torch.tensor([3, 3, 8], dtype=torch.int32)
    assert pointops.offset2batch(offset).tolist() == [0, 0, 0, 2, 2, 2, 2, 2]
    assert pointops.batch2offset(pointops.offset2batch(offset)).tolist() == [3, 3, 8]


XYZ, OFFSET, INDEX = torch.rand(10, 3), torch.tensor([4, 10]), torch.zeros(10, 2, dtype=torch.int32)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: pointops.knn_query(129, XYZ, OFFSET), "nsample is 129"),
        (
            lambda: pointops.query_and_group(32, XYZ, XYZ, XYZ, None, OFFSET, OFFSET, dilation=4),
            "nsample 32 with dilation 4 chooses from the 156 nearest; at most 128",
        ),
        (lambda: pointops.knn_query(4, XYZ.double(), OFFSET), "torch.float64"),
        (lambda: pointops.knn_query(4, XYZ[:, :2], OFFSET), r"\(10, 2\)"),
        (lambda: pointops.knn_query(4, XYZ.t().contiguous().t(), OFFSET), "not contiguous"),
        (lambda: pointops.knn_query(4, XYZ, torch.tensor([4, 9])), "ends with 9"),
        (lambda: pointops.knn_query(4, XYZ, torch.tensor([11, 10])), r"\[11, 10\]"),
        (lambda: pointops.knn_query(4, XYZ, OFFSET.float()), "torch.float32"),
        (lambda: pointops.knn_query(4, XYZ, OFFSET, XYZ, OFFSET[1:]), "2 clouds and new_offset of 1"),
        (lambda: pointops.knn_query(4, XYZ.to("meta"), OFFSET), "on meta"),
        (lambda: pointops.ball_query(4, 0.1, 0.2, XYZ, OFFSET), "0.2 and 0.1"),
        (
            lambda: pointops.farthest_point_sampling(XYZ, torch.tensor([0, 10]), torch.tensor([1, 2])),
            r"\[0, 10\] points",
        ),
        (lambda: pointops.grouping2(XYZ, INDEX + 10), "10 … 10"),
        (lambda: pointops.grouping2(XYZ, INDEX - 2), "-2 … -2"),
        (lambda: pointops.grouping2(XYZ.tolist(), INDEX), "a list"),
        (lambda: pointops.subtraction(XYZ, XYZ[:, :2].contiguous(), INDEX), r"\(10, 2\), not \(any, 3\)"),
        (lambda: pointops.aggregation(XYZ, XYZ, XYZ, INDEX), "position has shape"),
        (
            lambda: pointops.aggregation(XYZ, torch.ones(10, 2, 3), torch.ones(10, 2, 0), INDEX),
            r"\(10, 2, 0\); a neighbour has one weight",
        ),
        (lambda: pointops.attention_fusion_step(XYZ, XYZ[:, None], INDEX[:, 0], INDEX), "index_target"),
    ],
)
def test_what_is_wrong_is_said(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_the_extension_imports():
    if not pointops.ARCHITECTURES:
        pytest.skip("pointops is not compiled here")
    from pointops import _compiled

    assert "cpu" in _compiled.ARCHITECTURES.split(",")


def test_diagnostics_find_what_is_off(monkeypatch):
    from app.diagnostics.operators import check_library

    assert all(check["ok"] for check in check_library("pointops")["checks"])
    sample, query = pointops.farthest_point_sampling, pointops.knn_query

    def repeated(*given, **named):
        """Takes the first point of the first cloud twice."""
        taken = sample(*given, **named).clone()
        taken[1] = taken[0]
        return taken

    def reversed_order(*given, **named):
        """The farthest neighbor first."""
        return tuple(part.flip(1) for part in query(*given, **named))

    monkeypatch.setattr(pointops, "farthest_point_sampling", repeated)
    monkeypatch.setattr(pointops, "knn_query", reversed_order)
    off = {check["operator"] for check in check_library("pointops")["checks"] if not check["ok"]}
    assert off == {"farthest_point_sampling", "knn_query"}
