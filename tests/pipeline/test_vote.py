"""``mode=vote``: means over passes of several views."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from app.clouds.cloud import Cloud
from app.errors import BadModel, BadRequest, DeadlineExceeded
from app.networks.voxel_batch import VoxelBatch
from app.options import Options
from app.pipeline import features, transforms, vote
from app.pipeline.inference import Inference
from app.pipeline.segmenter import Segmenter
from app.pipeline.usable_points import points_at
from app.pipeline.voxelize import voxelize
from tests.pipeline.pipeline_samples import make_procedure, make_terrain

QUARTERS = [[{"type": "RandomRotateTargetAngle", "angle": [0.5 * i], "center": [0, 0, 0], "p": 1}] for i in range(4)]
SCALED = [{"type": "RandomScale", "scale": [0.9, 0.9]}]
FIELDS = ("confidence", "probabilities", "agreement")


def crowded():
    """About four points in a voxel."""
    return make_terrain(4000, extent_m=14.0)


def written_out(network, procedure, cloud):
    """Softmax outputs (views, N, 6) of every point in each view."""
    points = points_at(torch.arange(len(cloud)), torch.from_numpy(cloud.xyz))
    sample = transforms.apply(procedure.transform, features.build_sample(cloud, points, procedure, []))
    inference = Inference(network, 6, "cpu")
    stated = procedure.aug_transform or [[]]
    outputs = []
    for number in range(4):
        seen = transforms.apply(stated[number % len(stated)], sample)
        shift = torch.tensor([number * step % 1 * 0.5 for step in (0.8191725134, 0.6710436067, 0.549700478)]).double()
        seen = seen | {"coord": seen["coord"].double() + shift}
        places = voxelize(seen["coord"], 0.5).grid_coord.numpy()
        _, inverse, counts = np.unique(places, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        chosen = order[counts.cumsum() - counts + number % counts]
        part = transforms.apply(procedure.post_transform, {key: values[chosen] for key, values in seen.items()})
        batch = VoxelBatch(nn.functional.pad(torch.from_numpy(places[chosen]), (1, 0)), part["coord"].float())
        with torch.inference_mode():
            logits = inference.network(part["feat"], inference.network.plan(batch))
        outputs.append(logits.softmax(1).numpy()[inverse.ravel()])
    return np.stack(outputs)


@pytest.mark.parametrize("found", [(), QUARTERS, (QUARTERS[1], SCALED)], ids=["none", "four", "two"])
def test_probabilities_are_means_and_agreement_a_share_of_the_views(network, procedure, found):
    procedure, cloud = replace(procedure, aug_transform=list(found)), crowded()
    out = Segmenter(network, procedure).segment(cloud, Options(mode="vote", fields=FIELDS))
    each = written_out(network, procedure, cloud)
    np.testing.assert_allclose(out.fields["probabilities"], each.mean(0), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(out.fields["confidence"], out.fields["probabilities"].max(1))
    best = out.labels - 10
    np.testing.assert_array_equal(best, out.fields["probabilities"].argmax(1))
    close = np.diff(np.sort(each, 2)[..., -2:], axis=2)[..., 0].min(0) < 1e-4
    agreement = (each.argmax(2) == best).mean(0)
    np.testing.assert_array_equal(out.fields["agreement"][~close], agreement[~close])
    assert set(np.unique(agreement)) >= {0.5, 0.75, 1}
    assert (out.meta.passes, out.meta.passes_wanted, out.meta.warnings) == (4, 4, [])


def test_the_first_view_is_that_of_one_pass_and_fewer_passes_are_told(network, procedure):
    segmenter, cloud = Segmenter(network, replace(procedure, aug_transform=QUARTERS)), crowded()
    fast = segmenter.segment(cloud, Options(fields=("probabilities",)))
    heard = []
    out = segmenter.segment(cloud, Options(mode="vote", max_passes=1, fields=FIELDS))
    np.testing.assert_array_equal(out.fields["probabilities"], fast.fields["probabilities"])
    np.testing.assert_array_equal(out.fields["agreement"], np.ones(len(cloud), np.float32))
    assert out.meta.warnings == ["mode=vote made 1 of 4 passes (max_passes)."]
    assert (out.meta.passes, out.meta.passes_wanted) == (1, 4)
    out = segmenter.segment(cloud, Options(mode="vote", max_passes=9), on_passes=lambda *passes: heard.append(passes))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert out.meta.warnings == []


def test_an_answer_is_the_same_again_and_in_tiles_as_good_as_that(network, procedure):
    cloud, options = make_terrain(20_000, extent_m=150), Options(mode="vote", fields=FIELDS)
    whole, again = (Segmenter(network, procedure).segment(cloud, options) for _ in range(2))
    for name in FIELDS:
        np.testing.assert_array_equal(whole.fields[name], again.fields[name])
    tiled = Segmenter(network, procedure, tile_voxels=6_000).segment(cloud, options)
    assert (tiled.labels == whole.labels).mean() >= 0.98
    assert np.abs(tiled.fields["agreement"] - whole.fields["agreement"]).mean() < 0.02


def test_steps_work_on_the_means_and_agreement_is_with_the_smoothed_label(network, procedure):
    segmenter, cloud = Segmenter(network, procedure), crowded()
    cloud.xyz[3] = np.nan
    plain = segmenter.segment(cloud, Options(mode="vote", fields=FIELDS))
    out = segmenter.segment(cloud, Options(mode="vote", smooth=6, min_confidence=0.3, fields=FIELDS))
    usable = np.arange(len(cloud)) != 3
    best = 10 + out.fields["probabilities"].argmax(1)
    is_same = usable & (best == plain.labels)
    assert np.count_nonzero(usable & ~is_same) > 0
    np.testing.assert_array_equal(out.fields["agreement"][is_same], plain.fields["agreement"][is_same])
    assert out.fields["agreement"][usable & ~is_same].mean() < 0.9 * plain.fields["agreement"][usable].mean()
    assert (out.labels[3], out.fields["agreement"][3], plain.fields["agreement"][3]) == (-1, 0, 0)


def test_a_cloud_without_usable_points_is_answered(network, procedure):
    out = Segmenter(network, procedure).segment(
        Cloud(np.full((4, 3), np.nan), "npy"), Options(mode="vote", fields=FIELDS)
    )
    np.testing.assert_array_equal(out.labels, np.full(4, -1))
    np.testing.assert_array_equal(out.fields["agreement"], np.zeros(4))


def test_it_ends_between_passes(network, procedure, monkeypatch):
    passes, plan = [], Inference.plan
    monkeypatch.setattr(Inference, "plan", lambda *given: passes.append(1) or plan(*given))

    def check():
        if len(passes) == 2:
            raise DeadlineExceeded("late")

    with pytest.raises(DeadlineExceeded):
        Segmenter(network, procedure).segment(crowded(), Options(mode="vote"), check)
    assert len(passes) == 2


@pytest.mark.parametrize(
    ("mode", "field", "words"),
    [
        ("fast", "agreement", "agreement is found in mode=vote only, got mode=fast"),
        ("exact", "agreement", "agreement is found in mode=vote only, got mode=exact"),
        ("vote", "energy", "energy is found in mode=fast only, got mode=vote"),
    ],
)
def test_fields_of_other_modes_are_refused(network, procedure, mode, field, words):
    segmenter = Segmenter(network, procedure)
    assert field in segmenter.fields
    with pytest.raises(BadRequest, match=words):
        segmenter.for_options(Options(mode=mode, fields=("confidence", field)))


def test_views_that_are_drawn_are_refused(network, procedure):
    drawn = [[{"type": "RandomScale", "scale": [0.9, 1.1]}]]
    with pytest.raises(BadModel, match="leaves something to chance"):
        Segmenter(network, replace(procedure, aug_transform=drawn)).segment(crowded(), Options(mode="vote"))


def test_grids_are_shifted_by_parts_of_the_edge_of_each_axis():
    procedure = make_procedure(grid_size=(0.5, 1.0, 2.0))
    shifts = np.array([np.array(steps[-1]["shift"])[:, 0] for steps in vote.views_of(procedure)]) / [0.5, 1, 2]
    assert not shifts[0].any()
    assert (shifts >= 0).all()
    assert (shifts < 1).all()
    apart = np.abs(shifts[:, None] - shifts)[~np.eye(4, dtype=bool)]
    assert np.linalg.norm(np.minimum(apart, 1 - apart), axis=1).min() > 0.4
