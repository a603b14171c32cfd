"""The ball query on a CUDA device against the reference on the processor, index by index."""

from pathlib import Path

import numpy as np
import pointgroup_ops
import pytest
import torch
from pointgroup_ops import ballquery_batch_p, bfs_cluster, reference

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden/op_ballquery_bfs_cluster"


def clouds_of(sizes):
    batch_idxs = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).int()
    return batch_idxs, torch.tensor([0, *np.cumsum(sizes)], dtype=torch.int32)


def assert_as_reference(coords, clouds, radius):
    found = ballquery_batch_p(coords.cuda(), *(part.cuda() for part in clouds), radius)
    expected = reference.ball_query(coords, *clouds, radius)
    for one, other in zip(found, expected, strict=True):
        assert one.is_cuda
        assert one.dtype == torch.int32
        assert torch.equal(one.cpu(), other)
    return expected


def test_the_golden():
    with np.load(GOLDEN / "input.npz") as given, np.load(GOLDEN / "output.npz") as expected:
        arguments = [torch.from_numpy(given[name]).cuda() for name in ("xyz", "batch_idxs", "batch_offsets")]
        idx, start_len = ballquery_batch_p(*arguments, 0.55, 4)
        assert np.array_equal(idx.cpu(), expected["idx"])
        assert np.array_equal(start_len.cpu(), expected["start_len"])
        rows, offsets = bfs_cluster(torch.from_numpy(given["labels"]), idx.cpu(), start_len.cpu(), 3)
        assert np.array_equal(rows, expected["cluster_idxs"])
        assert np.array_equal(offsets, expected["cluster_offsets"])


@pytest.mark.parametrize("side", [0.0, 0.4, 6.0, 80.0, 1e7, 1e30])
@pytest.mark.parametrize("lattice", [False, True])
@pytest.mark.parametrize("sizes", [[1], [3000], [0, 700, 1, 0, 1300, 31, 32, 33]])
def test_scenes(side, lattice, sizes):
    rng = np.random.default_rng(len(sizes))
    coords = rng.uniform(-side, side, (sum(sizes), 3))
    coords[rng.integers(0, len(coords), len(coords) // 5)] = coords[0]
    if lattice:
        coords = np.round(coords)
        coords[rng.random(coords.shape) < 0.01] = np.nan
        coords[rng.random(coords.shape) < 0.01] = -np.inf
    for radius in (1e-30, 1.0, 2.0, 1e20):
        assert_as_reference(torch.from_numpy(coords.astype(np.float32)), clouds_of(sizes), radius)


@pytest.mark.parametrize("number", [31, 32, 33, 511, 512, 513, 999, 1000, 1001, 1025, 4000])
def test_every_number_of_neighbours(number):
    coords = torch.rand(number + 500, 3, generator=torch.Generator().manual_seed(number)) * 0.57
    coords[:500] += 50
    coords = coords[torch.randperm(len(coords), generator=torch.Generator().manual_seed(1))]
    _, start_len = assert_as_reference(coords, clouds_of([0, len(coords)]), 1.0)
    assert start_len[:, 1].max() == min(max(number, 500), 1000)


def test_a_large_cloud_in_clumps_and_many_small_ones():
    generator = torch.Generator().manual_seed(0)
    middles = torch.rand(40, 3, generator=generator) * 60
    clumps = middles[torch.randint(40, (30_000,), generator=generator)]
    coords = torch.cat(
        [clumps + torch.randn(30_000, 3, generator=generator) * 0.2, torch.rand(9_000, 3, generator=generator) * 0.8]
    )
    assert_as_reference(coords, clouds_of([30_000, *[3] * 3_000]), 1.0)


def test_three_hundred_thousand_points_are_the_same_as_on_the_processor_every_time():
    coords = torch.rand(300_000, 3, generator=torch.Generator().manual_seed(0)) * 40
    clouds = clouds_of([100_000, 200_000])
    expected = ballquery_batch_p(coords, *clouds, 1.0)
    for _ in range(3):
        found = ballquery_batch_p(coords.cuda(), *(part.cuda() for part in clouds), 1.0)
        assert all(torch.equal(one.cpu(), other) for one, other in zip(found, expected, strict=True))


def test_on_another_stream():
    coords = torch.rand(20_000, 3) * 10
    clouds = [part.cuda() for part in clouds_of([20_000])]
    expected = ballquery_batch_p(coords, *clouds_of([20_000]), 0.5)
    given, late = coords.cuda(), torch.zeros(20_000, 3).cuda()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late.copy_(given)
        found = ballquery_batch_p(late, *clouds, 0.5)
    stream.synchronize()
    assert torch.equal(found[0].cpu(), expected[0])


@pytest.mark.parametrize("sizes", [[0], [0, 0]])
def test_no_points(sizes):
    idx, start_len = ballquery_batch_p(torch.zeros(0, 3).cuda(), *(part.cuda() for part in clouds_of(sizes)), 1.0)
    assert (idx.shape, start_len.shape) == ((0,), (0, 2))


@pytest.mark.parametrize(
    ("batch_idxs", "batch_offsets", "message"),
    [
        ([0, 0, 1, 1, 2], [0, 2, 5], r"batch_idxs\[4\] must be 1, .*got 2"),
        ([0, -1, 1, 1, 1], [0, 2, 5], r"batch_idxs\[1\] must be 0, .*got -1"),
        ([0, 0, 1, 1, 1], [0, 2, 4], "rise from 0 to the number of points, 5"),
        ([0, 0, 2, 2, 2], [0, 9, 2, 5], "rise from 0 to the number of points, 5"),
    ],
)
def test_clouds_that_do_not_fit_are_told_and_the_device_goes_on(batch_idxs, batch_offsets, message):
    clouds = torch.tensor(batch_idxs).int().cuda(), torch.tensor(batch_offsets).int().cuda()
    with pytest.raises(ValueError, match=message):
        ballquery_batch_p(torch.rand(5, 3).cuda(), *clouds, 1.0)
    torch.cuda.synchronize()


def test_tensors_of_two_devices_are_told():
    batch_idxs, batch_offsets = clouds_of([5])
    with pytest.raises(ValueError, match=r"batch_offsets .*on cuda:0, got .*on cpu"):
        ballquery_batch_p(torch.rand(5, 3).cuda(), batch_idxs.cuda(), batch_offsets, 1.0)
    with pytest.raises(ValueError, match=r"semantic_label .*on cpu, got .*on cuda:0"):
        bfs_cluster(batch_idxs.cuda(), batch_idxs, torch.zeros(5, 2).int(), 1)


def test_instances_are_those_of_the_processor():
    generator = torch.Generator().manual_seed(0)
    vertices = (
        torch.rand(5_000, 3, generator=generator).round(decimals=1) + torch.rand(5_000, 3, generator=generator) * 0.02
    )
    scores = torch.zeros(5_000, 3).scatter_(1, (vertices[:, :1] * 3).long().clamp(0, 2), 0.9)
    mapping = torch.tensor([3, 4, 5])
    arguments = {"ignored_labels": [4], "thresh": 0.03, "min_points": 2, "propose_points": 3}
    expected = pointgroup_ops.Clustering(class_mapping=mapping, **arguments).get_instances(vertices, scores)
    clustering = pointgroup_ops.Clustering(class_mapping=mapping.cuda(), **arguments)
    found = clustering.get_instances(vertices.cuda(), scores.cuda())
    assert len(found) == len(expected) > 10
    for number, instance in expected.items():
        assert found[number]["label_id"] == instance["label_id"]
        assert found[number]["conf"] == instance["conf"]
        assert np.array_equal(found[number]["pred_mask"], instance["pred_mask"])
