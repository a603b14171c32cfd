"""Objects of a cloud, found without ground truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.clouds.cloud import ClassInfo, Cloud
from app.errors import BadRequest
from app.networks.network import Network
from app.options import Options
from app.pipeline import prepare
from app.pipeline.run_context import RunContext
from app.pipeline.segmenter import Segmenter
from app.pipeline.voxelize import voxelize
from tests.pipeline.instance_samples import COLORS, ball, make_segmenter, scene
from tests.pipeline.pipeline_samples import make_procedure


@pytest.fixture
def segmenter():
    return make_segmenter()


def test_every_ball_is_an_instance_with_class_score_and_points(segmenter):
    cloud = scene(ball([0, 0, 0], 1), ball([5, 0, 0], 2, 500), ball([0, 5, 0], 0), ball([5, 5, 0], 1, 300))
    out = segmenter.segment(cloud, Options(fields=("instances", "confidence")))
    assert out.fields["instances"].dtype == np.int32
    owner = np.repeat([0, 1, 2, 3], [800, 500, 800, 300])
    ids = [int(out.fields["instances"][owner == number][0]) for number in range(4)]
    assert sorted(ids) == [-1, 0, 1, 2]
    assert ids[2] == -1
    np.testing.assert_array_equal(out.fields["instances"], np.array(ids)[owner])
    found = {info.id: info for info in out.meta.instances}
    assert [(found[ids[number]].label, found[ids[number]].num_points) for number in (0, 1, 3)] == [
        (11, 800),
        (12, 500),
        (11, 300),
    ]
    share = np.exp(8) / (np.exp(8) + 2)
    assert all(abs(info.score - share) < 1e-5 for info in out.meta.instances)
    np.testing.assert_array_equal(out.labels, segmenter.segment(cloud).labels)


def test_the_answer_does_not_depend_on_tiles(segmenter):
    cloud = scene(*(ball([8 * (i % 4), 8 * (i // 4), 0], 1 + i % 2, seed=i) for i in range(12)))
    whole = segmenter.segment(cloud, Options(fields=("instances",)))
    segmenter.tile_voxels = 2000
    tiled = segmenter.segment(cloud, Options(fields=("instances",)))
    np.testing.assert_array_equal(tiled.fields["instances"], whole.fields["instances"])
    assert len(whole.meta.instances) == 12


def test_points_that_cannot_be_used_belong_to_nothing(segmenter):
    cloud = scene(ball([0, 0, 0], 1))
    cloud.xyz[:10] = np.nan
    out = segmenter.segment(cloud, Options(fields=("instances",)))
    assert (out.fields["instances"][:10] == -1).all()
    assert out.meta.instances[0].num_points == 790
    cloud.xyz[:] = np.nan
    out = segmenter.segment(cloud, Options(fields=("instances",)))
    assert (out.fields["instances"] == -1).all()
    assert out.meta.instances == []


def test_unless_asked_for_there_are_none(segmenter):
    out = segmenter.segment(scene(ball([0, 0, 0], 1)))
    assert "instances" not in out.fields
    assert out.meta.instances == []


def test_the_exact_mode_picks_a_point_a_voxel_and_gives_what_is_said_of_the_nearest(segmenter):
    rng = np.random.RandomState(3)
    xyz = rng.rand(3000, 3) * [2, 1.5, 0.5]
    cloud = Cloud(xyz, "npy", rgb=COLORS[rng.randint(0, 3, 3000)])
    out = segmenter.segment(cloud, Options(mode="exact", fields=("instances",), seed=7))

    voxels = voxelize(
        prepare.apply_transforms(cloud, segmenter.procedure, 7, "cpu", RunContext([]), thin=True).sample["coord"], 0.1
    )
    members = [voxels.order[start : start + count] for start, count in zip(voxels.starts, voxels.counts, strict=True)]
    draws = np.random.RandomState(7).randint(0, max(map(len, members)), len(members))
    picks = np.array([own[draw % len(own)] for own, draw in zip(members, draws, strict=True)])
    nearest = ((xyz[:, None] - xyz[picks]) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(out.labels, 10 + cloud.rgb.argmax(1)[picks][nearest])
    assert (out.meta.passes, out.meta.passes_wanted) == (1, 1)
    assert out.fields["instances"].max() + 1 == len(out.meta.instances)
    assert all(set(out.labels[out.fields["instances"] == info.id]) == {info.label} for info in out.meta.instances)
    assert (out.labels != segmenter.segment(cloud).labels).any()
    assert (out.labels != segmenter.segment(cloud, Options(mode="exact", seed=8)).labels).any()


def test_modes_and_models_without_instances_say_so(segmenter, network, procedure):
    cloud = scene(ball([0, 0, 0], 1))
    with pytest.raises(BadRequest, match="features is found in mode=fast only, got mode=exact"):
        segmenter.segment(cloud, Options(mode="exact", fields=("features",)))
    with pytest.raises(BadRequest, match="made-up finds no instances; models of type PG-v1m1 and PG-v1m2 do"):
        Segmenter(network, procedure).segment(cloud, Options(fields=("instances",)))


class OfCondition(Network):
    """Logits 0, but for the first class where the dataset is A and the last one where it is B."""

    plans_positions = False

    def plan(self, batch):
        return batch.condition

    def forward(self, features, plan):
        logits = torch.zeros(len(features), 3 if plan == "A" else 2)
        logits[:, 0 if plan == "A" else -1] = 1
        return logits


def test_a_condition_chooses_head_and_classes():
    other = [ClassInfo(20, "x", (0, 0, 0)), ClassInfo(21, "y", (1, 1, 1))]
    procedure = make_procedure(("color",), 0.1, num_classes=3)
    procedure = replace(procedure, condition="A", conditions={"A": procedure.classes, "B": other})
    segmenter = Segmenter(OfCondition(), procedure)
    cloud = scene(ball([0, 0, 0], 1, 50))
    assert set(segmenter.segment(cloud).labels) == {10}
    assert segmenter.for_options(Options()) is segmenter.for_options(Options(condition="A")) is segmenter
    answer = segmenter.segment(cloud, Options(condition="B", fields=("probabilities",)))
    assert set(answer.labels) == {21}
    assert answer.meta.classes == other
    assert answer.fields["probabilities"].shape == (50, 2)
    assert set(segmenter.segment(cloud).labels) == {10}
    with pytest.raises(BadRequest, match="knows no condition 'C'; known are A, B"):
        segmenter.segment(cloud, Options(condition="C"))


def test_a_model_of_one_dataset_takes_no_condition(network, procedure):
    with pytest.raises(BadRequest, match="trained for one dataset and takes none"):
        Segmenter(network, procedure).for_options(Options(condition="ScanNet"))
