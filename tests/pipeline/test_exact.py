from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from app.clouds.cloud import Cloud
from app.errors import BadModel, DeadlineExceeded
from app.networks.voxel_batch import VoxelBatch
from app.options import Options
from app.pipeline import exact, features, transforms, views
from app.pipeline.inference import Inference
from app.pipeline.segmenter import Segmenter
from app.pipeline.usable_points import points_at
from app.pipeline.views import View, allot
from app.pipeline.voxelize import voxelize
from tests.pipeline.pipeline_samples import Positions, make_procedure, make_terrain

QUARTERS = [[{"type": "RandomRotateTargetAngle", "angle": [0.5 * i], "center": [0, 0, 0], "p": 1}] for i in range(4)]
SMALLER = [{"type": "RandomScale", "scale": [0.9, 0.9]}]
FLIPPED = [{"type": "RandomFlip", "p": 1}]
PRE_GRID = {"type": "GridSample", "grid_size": 0.3, "mode": "train", "return_inverse": True}


def with_views(procedure, *found):
    return replace(procedure, aug_transform=list(found))


def crowded(num_points=4000):
    """About four points in a voxel, up to a dozen or so."""
    return make_terrain(num_points, extent_m=14.0)


def build_sample(cloud, procedure):
    points = points_at(torch.arange(len(cloud)), torch.from_numpy(cloud.xyz))
    return features.build_sample(cloud, points, procedure, [])


def written_out(network, procedure, cloud, seed=0):
    """Sums of softmax outputs over every fragment of every view, each run alone, view by view."""
    sample = build_sample(cloud, procedure)
    sample = transforms.apply(procedure.transform, sample, np.random.RandomState(seed))
    inference = Inference(network, 6, "cpu")
    sums = np.zeros((len(sample["coord"]), 6))
    for steps in procedure.aug_transform or [[]]:
        seen = transforms.apply(steps, sample)
        voxels = voxelize(seen["coord"], procedure.voxelize["grid_size"])
        for points in voxels.fragments():
            grid_coord = voxels.grid_coord[points]
            part = {key: values[points] for key, values in seen.items() if key != "inverse"}
            out = transforms.apply(procedure.post_transform, part)
            batch = VoxelBatch(nn.functional.pad(grid_coord, (1, 0)), out["coord"].float())
            with torch.inference_mode():
                logits = inference.network(out["feat"], inference.network.plan(batch))
            sums[points] += logits.softmax(1).numpy()
    return sums, sample


def shares(sums):
    return sums / sums.sum(1, keepdims=True)


@pytest.mark.parametrize("found", [(), (SMALLER,), (*QUARTERS, SMALLER, FLIPPED)], ids=["none", "one", "six"])
def test_sums_are_those_of_every_fragment_of_every_view(network, procedure, found):
    procedure, cloud = with_views(procedure, *found), crowded()
    out = Segmenter(network, procedure).segment(
        cloud, Options(mode="exact", fields=("probabilities", "confidence", "entropy"))
    )
    expected = shares(written_out(network, procedure, cloud)[0])
    np.testing.assert_allclose(out.fields["probabilities"], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(out.fields["confidence"], out.fields["probabilities"].max(1))
    clear = np.diff(np.sort(expected, 1)[:, -2:])[:, 0] > 1e-4
    np.testing.assert_array_equal(out.labels[clear], 10 + expected.argmax(1)[clear])
    assert clear.mean() > 0.99
    assert out.meta.passes == out.meta.passes_wanted > len(found)
    assert out.meta.warnings == []


def test_networks_that_read_positions_get_those_of_each_fragment(procedure):
    procedure, cloud, network = with_views(procedure, SMALLER, QUARTERS[1]), crowded(), Positions().eval()
    out = Segmenter(network, procedure).segment(cloud, Options(mode="exact", fields=("probabilities",)))
    expected = shares(written_out(network, procedure, cloud)[0])
    np.testing.assert_allclose(out.fields["probabilities"], expected, rtol=0, atol=1e-5)
    other = transforms.apply(procedure.post_transform, build_sample(cloud, procedure))
    assert np.ptp(other["coord"].numpy(), axis=0).min() > 1  # positions that matter


@pytest.mark.parametrize("reads_positions", [False, True])
def test_batching_changes_nothing(network, procedure, monkeypatch, reads_positions):
    segmenter = Segmenter(Positions().eval() if reads_positions else network, with_views(procedure, *QUARTERS, SMALLER))
    together = segmenter.segment(crowded(), Options(mode="exact", fields=("probabilities",))).fields["probabilities"]
    for size in (1, 2000):
        monkeypatch.setattr(exact, "BATCH_VOXELS", size)
        alone = segmenter.segment(crowded(), Options(mode="exact", fields=("probabilities",))).fields["probabilities"]
        np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("held", [exact.HELD_VOXELS, 1])
def test_labels_of_tiles_are_those_of_the_whole(network, procedure, monkeypatch, held):
    cloud = make_terrain(20_000, extent_m=150)
    cloud.xyz = np.repeat(cloud.xyz[::2], 2, 0)
    procedure = with_views(procedure, QUARTERS[0], SMALLER)
    whole = Segmenter(network, procedure).segment(cloud, Options(mode="exact"))
    monkeypatch.setattr(exact, "HELD_VOXELS", held)
    tiled = Segmenter(network, procedure, tile_voxels=6_000).segment(cloud, Options(mode="exact"))
    assert (tiled.labels == whole.labels).mean() >= 0.999
    assert tiled.meta.passes == whole.meta.passes


def test_geometry_is_planned_once_for_equal_voxels(network, procedure, monkeypatch):
    without_normals = [{"type": "Update", "keys_dict": {"normal": torch.zeros(4000, 3)}}]
    segmenter = Segmenter(network, with_views(procedure, [], SMALLER, without_normals))
    planned, plan = [], Inference.plan

    def counting(inference, clouds, run):
        planned.append(len(clouds[0][0]))
        return plan(inference, clouds, run)

    monkeypatch.setattr(Inference, "plan", counting)
    monkeypatch.setattr(exact, "BATCH_VOXELS", 1)
    out = segmenter.segment(crowded(), Options(mode="exact", fields=("probabilities",)))
    assert out.meta.passes > 12
    assert len(planned) == len(set(planned)) == 2
    expected = shares(written_out(network, segmenter.procedure, crowded())[0])
    np.testing.assert_allclose(out.fields["probabilities"], expected, rtol=0, atol=1e-5)


def test_views_that_are_alike_are_weighted_not_repeated(network, procedure, monkeypatch):
    cloud, found = crowded(), (*QUARTERS, FLIPPED, QUARTERS[0], SMALLER)
    segmenter = Segmenter(network, with_views(procedure, *found))
    once = segmenter.segment(cloud, Options(mode="exact", fields=("probabilities",)))
    monkeypatch.setattr(views, "_alike", lambda first, second: False)
    every = segmenter.segment(cloud, Options(mode="exact", fields=("probabilities",)))
    assert once.meta.passes < every.meta.passes
    np.testing.assert_allclose(once.fields["probabilities"], every.fields["probabilities"], rtol=0, atol=1e-6)


def test_views_with_equal_voxels_and_other_normals_are_not_alike(network, procedure):
    cloud = make_terrain(500)
    cloud.xyz = np.random.RandomState(0).choice([-1.25, 1.25], (500, 3))
    cloud.normals = np.random.RandomState(1).normal(size=(500, 3)).astype(np.float32)
    sample = build_sample(cloud, procedure)
    sample = transforms.apply(procedure.transform, sample)
    sample["coord"][:, :2] = 1.25
    found = views.distinct(sample, with_views(procedure, [], FLIPPED, []))
    assert [view.weight for view in found] == [2, 1]
    assert found[0].voxels_key == found[1].voxels_key


@pytest.mark.parametrize(
    ("wanted", "limit", "given"),
    [((3, 1, 2), 6, [3, 1, 2]), ((3, 1, 2), 99, [3, 1, 2]), ((3, 1, 2), 4, [2, 1, 1]), ((9, 9), 1, [1, 0])],
)
def test_passes_go_to_the_first_fragments_of_all_views(wanted, limit, given):
    assert allot([View([], 1, count, 0, (0, 0)) for count in wanted], limit) == given


def test_passes_over_the_limit_are_left_out_and_said(network, procedure):
    cloud, segmenter = crowded(), Segmenter(network, with_views(procedure, *QUARTERS[:2]))
    full = segmenter.segment(cloud, Options(mode="exact"))
    out = segmenter.segment(cloud, Options(mode="exact", fields=("probabilities",), max_passes=6))
    assert (out.meta.passes, out.meta.passes_wanted) == (6, full.meta.passes)
    assert full.meta.passes > 6
    np.testing.assert_allclose(out.fields["probabilities"].sum(1), 1, atol=1e-5)
    (said,) = out.meta.warnings
    assert f"6 of {full.meta.passes} passes (max_passes)" in said
    assert (out.labels == full.labels).mean() > 0.8


def test_one_pass_of_a_model_without_views_is_the_fast_mode(network, procedure):
    cloud, segmenter = crowded(), Segmenter(network, procedure)
    one = segmenter.segment(cloud, Options(mode="exact", fields=("confidence",), max_passes=1))
    fast = segmenter.segment(cloud, Options(fields=("confidence",)))
    np.testing.assert_array_equal(one.labels, fast.labels)
    np.testing.assert_allclose(one.fields["confidence"], fast.fields["confidence"], rtol=0, atol=1e-6)
    assert (fast.meta.passes, fast.meta.passes_wanted) == (1, 1)


def test_thousands_of_points_in_one_voxel_cost_no_more_than_the_limit(network, procedure):
    cloud = crowded()
    cloud.xyz[:3000] = cloud.xyz[0]
    out = Segmenter(network, procedure).segment(cloud, Options(mode="exact", max_passes=5))
    assert (out.meta.passes, out.meta.passes_wanted) == (5, 3000 + np.count_nonzero(same_voxel(cloud)[3000:]))
    assert len(set(out.labels[:3000])) <= 5 + 1


def same_voxel(cloud):
    shifted = cloud.xyz.astype(np.float32)
    shifted -= np.append((shifted[:, :2].min(0) + shifted[:, :2].max(0)) / 2, shifted[:, 2].min())
    voxels = np.floor(shifted / 0.5)
    return (voxels == voxels[0]).all(1)


def test_a_pre_grid_thins_by_the_seed_and_every_point_gets_the_label_of_its_pick(network):
    procedure, cloud = make_procedure(transform=[PRE_GRID]), crowded(8000)
    segmenter = Segmenter(network, procedure)
    out = segmenter.segment(cloud, Options(mode="exact", fields=("probabilities",), seed=3))
    sums, sample = written_out(network, procedure, cloud, seed=3)
    assert len(sums) < len(cloud)
    np.testing.assert_allclose(out.fields["probabilities"], shares(sums)[sample["inverse"]], rtol=0, atol=1e-5)
    again, other = (
        segmenter.segment(cloud, Options(mode="exact", fields=("probabilities",), seed=seed)) for seed in (3, 4)
    )
    np.testing.assert_array_equal(again.fields["probabilities"], out.fields["probabilities"])
    assert not np.array_equal(other.fields["probabilities"], out.fields["probabilities"])


def test_points_that_the_transforms_drop_are_ignored(network):
    crop = {"type": "SphereCrop", "point_max": 1000, "mode": "center"}
    for steps in ([crop], [PRE_GRID, crop], [crop, PRE_GRID]):
        out = Segmenter(network, make_procedure(transform=steps)).segment(
            crowded(), Options(mode="exact", fields=("confidence",))
        )
        ignored = out.labels == -1
        assert 0 < np.count_nonzero(~ignored) < 4000
        assert (out.fields["confidence"][ignored] == 0).all()
        assert (out.fields["confidence"][~ignored] > 0).all()


def test_points_that_are_not_finite_are_ignored(network, procedure):
    cloud = crowded()
    cloud.xyz[[0, 17]] = np.nan
    labels = Segmenter(network, procedure).segment(cloud, Options(mode="exact")).labels
    np.testing.assert_array_equal(np.flatnonzero(labels == -1), [0, 17])


def test_a_cloud_without_a_usable_point_takes_no_pass(network, procedure):
    out = Segmenter(network, procedure).segment(
        Cloud(np.full((3, 3), np.nan), "npy"), Options(mode="exact", fields=("probabilities",))
    )
    np.testing.assert_array_equal(out.labels, [-1, -1, -1])
    assert (out.meta.passes, out.meta.passes_wanted) == (0, 0)


@pytest.mark.parametrize(
    "step", [{"type": "RandomScale", "scale": [0.8, 1.2]}, {"type": "RandomFlip", "p": 0.5}, {"type": "RandomJitter"}]
)
def test_a_view_left_to_chance_is_refused_in_this_mode_only(network, procedure, step):
    segmenter = Segmenter(network, with_views(procedure, [step]))
    with pytest.raises(BadModel, match=step["type"]):
        segmenter.segment(crowded(), Options(mode="exact"))
    assert segmenter.segment(crowded()).meta.passes == 1


def test_a_cancelled_run_ends_between_passes(network, procedure, monkeypatch):
    monkeypatch.setattr(exact, "BATCH_VOXELS", 1)
    calls = []

    def check_cancelled():
        calls.append(1)
        if len(calls) > 12:
            raise DeadlineExceeded("over")

    with pytest.raises(DeadlineExceeded):
        Segmenter(network, with_views(procedure, *QUARTERS)).segment(
            crowded(), Options(mode="exact"), check_cancelled=check_cancelled
        )
    assert len(calls) == 13


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_fragments_go_in_smaller_batches_where_memory_does_not_suffice(network, procedure, monkeypatch, error):
    cloud, procedure = crowded(), with_views(procedure, *QUARTERS)
    expected = Segmenter(network, procedure).segment(cloud, Options(mode="exact", fields=("probabilities",)))
    sizes, logits = [], Inference.logits

    def short_of_memory(self, feat, plan, run):
        sizes.append(len(feat))
        if len(feat) > 2500:
            raise error
        return logits(self, feat, plan, run)

    monkeypatch.setattr(Inference, "logits", short_of_memory)
    answer = Segmenter(network, procedure).segment(cloud, Options(mode="exact", fields=("probabilities",)))
    assert max(sizes) > 2500 > min(sizes)
    np.testing.assert_array_equal(answer.fields["probabilities"], expected.fields["probabilities"])
    assert answer.meta.passes == expected.meta.passes


def test_one_fragment_that_does_not_fit_ends_the_run(network, procedure, monkeypatch):
    def short_of_memory(self, feat, plan, run):
        raise MemoryError

    monkeypatch.setattr(Inference, "logits", short_of_memory)
    with pytest.raises(MemoryError):
        Segmenter(network, procedure).segment(crowded(), Options(mode="exact"))
