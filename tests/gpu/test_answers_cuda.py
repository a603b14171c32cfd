"""Whole answers on a CUDA device: every field, in every mode, is what the processor gives but for rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.clouds.fields import FIELDS
from app.networks.pointgroup import PointGroup
from app.options import Options
from app.pipeline import exact, field_values, tiling
from app.pipeline.inference import OVERFLOW
from app.pipeline.principal import principal_colors
from app.pipeline.segmenter import Segmenter
from app.settings import ModelSettings
from app.zoo.loading import load_model
from tests.pipeline.instance_samples import Passing, ball, scene
from tests.pipeline.pipeline_samples import Positions, make_network, make_overflowing, make_procedure, make_terrain

pytestmark = pytest.mark.gpu
FOLDER = Path(__file__).parents[2] / "app/bundled/aerial-semseg-spunet-v1m1"
OF_CLASSES = ("probabilities", "confidence", "entropy")
OF_FEATURES = (*OF_CLASSES, "energy", "features", "features_rgb")
QUARTER = {"type": "RandomRotateTargetAngle", "angle": [0.5], "center": [0, 0, 0], "p": 1}
SMALLER = {"type": "RandomScale", "scale": [0.9, 0.9]}


@pytest.fixture(scope="module")
def segmenters():
    """The bundled model in float32, here and there."""
    return [load_model(FOLDER, ModelSettings(precision="fp32")).segmenter(device) for device in ("cpu", "cuda")]


@pytest.fixture
def network():
    return make_network()


def assert_near(there, here, at_least=0.999):
    assert list(there.fields) == list(here.fields)
    for name, values in there.fields.items():
        assert values.dtype == FIELDS[name].dtype
        off = np.abs(values.astype(float) - here.fields[name]).reshape(len(values), -1).max(1)
        limit = 2 if name == "features_rgb" else 1e-3 * max(1, np.abs(here.fields[name]).max())
        assert (off <= limit).mean() >= at_least, name
    assert (there.labels == here.labels).mean() >= at_least
    assert there.meta.warnings == here.meta.warnings
    assert (there.meta.passes, there.meta.passes_wanted) == (here.meta.passes, here.meta.passes_wanted)


@pytest.mark.parametrize("tile_voxels", [400_000, 6000], ids=["whole", "tiled"])
@pytest.mark.parametrize(("mode", "fields"), [("fast", OF_FEATURES), ("exact", OF_CLASSES), ("vote", OF_CLASSES)])
def test_answers_are_those_of_the_processor(segmenters, monkeypatch, mode, fields, tile_voxels):
    cloud = make_terrain(20_000, extent_m=150)
    cloud.xyz[::777] = np.nan
    for segmenter in segmenters:
        monkeypatch.setattr(segmenter, "tile_voxels", tile_voxels)
    here, there = (segmenter.segment(cloud, Options(mode=mode, fields=fields)) for segmenter in segmenters)
    assert_near(there, here)
    again = segmenters[1].segment(cloud, Options(mode=mode, fields=fields))
    for name, values in again.arrays.items():
        np.testing.assert_array_equal(values, there.arrays[name])


def test_large_columns_are_projected_by_the_processor(segmenters, monkeypatch):
    cloud = make_terrain(5000)
    expected = segmenters[1].segment(cloud, Options(fields=OF_FEATURES))
    monkeypatch.setattr(field_values, "MAX_DEVICE_BYTES", 0)
    found = segmenters[1].segment(cloud, Options(fields=OF_FEATURES))
    for name, values in found.arrays.items():
        np.testing.assert_array_equal(values, expected.arrays[name])


@pytest.mark.parametrize("reads_positions", [False, True])
def test_views_share_passes_and_progress_is_that_of_the_device(network, reads_positions):
    procedure = make_procedure()
    procedure.aug_transform.extend([[], [QUARTER], [SMALLER], [SMALLER, QUARTER]])
    cloud, told = make_terrain(4000, extent_m=14.0), []
    if reads_positions:
        network = Positions().eval()
    here = Segmenter(network, procedure).segment(cloud, Options(mode="exact", fields=OF_CLASSES))
    segmenter = Segmenter(network, procedure, "cuda", tile_voxels=3000)
    options = Options(mode="exact", fields=OF_CLASSES)
    there = segmenter.segment(cloud, options, on_passes=lambda *passes: told.append(passes))
    assert_near(there, here)
    assert told == sorted(told)
    assert told[-1] == (here.meta.passes, here.meta.passes)
    assert 2 < len(told) < here.meta.passes


def test_an_overflow_in_half_precision_is_answered_in_float32(network):
    overflowing, cloud = make_overflowing(network), make_terrain()
    procedure = make_procedure()
    procedure.aug_transform.extend([[QUARTER], [SMALLER]])
    for mode in ("fast", "exact"):
        options = Options(mode=mode, fields=("probabilities",))
        expected = Segmenter(overflowing, procedure, "cuda").segment(cloud, options)
        found = Segmenter(overflowing, procedure, "cuda", precision="fp16").segment(cloud, options)
        assert found.meta.warnings == [OVERFLOW]
        np.testing.assert_array_equal(found.fields["probabilities"], expected.fields["probabilities"])


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_instances_are_those_of_the_processor(mode):
    cloud = scene(*(ball([8 * (i % 4), 8 * (i // 4), 0], 1 + i % 2, seed=i) for i in range(12)))
    limits = {"cluster_propose_points": 20, "cluster_min_points": 5, "voxel_size": 0.1}
    network = PointGroup(Passing(), 3, 3, segment_ignore_index=(-1, 0), **limits).eval()
    with torch.no_grad():
        network.seg_head.weight.copy_(torch.eye(3) * 8)
        for part in (network.seg_head.bias, network.bias_head[3].weight, network.bias_head[3].bias):
            part.zero_()
    procedure, options = make_procedure(("color",), 0.1, num_classes=3), Options(mode=mode, fields=("instances",))
    here = Segmenter(network, procedure).segment(cloud, options)
    there = Segmenter(network, procedure, "cuda").segment(cloud, options)
    assert len(here.meta.instances) == 12
    assert [info.num_points for info in there.meta.instances] == [info.num_points for info in here.meta.instances]
    np.testing.assert_array_equal(there.fields["instances"], here.fields["instances"])
    np.testing.assert_array_equal(there.labels, here.labels)


@pytest.mark.parametrize("counted", [tiling.MAX_COUNTED, 0])
def test_tiles_are_those_of_the_processor(monkeypatch, counted):
    monkeypatch.setattr(tiling, "MAX_COUNTED", counted)
    rng = np.random.default_rng(0)
    voxels = torch.from_numpy(np.unique(rng.integers(0, (700, 500, 40), (60_000, 3)), axis=0))
    here, there = (list(tiling.cut(grid_coord, 15_000)) for grid_coord in (voxels, voxels.cuda()))
    assert len(there) == len(here) > 3
    for one, other in zip(there, here, strict=True):
        for name in ("rows", "weights", "origin"):
            assert torch.equal(getattr(one, name).cpu(), getattr(other, name)), name


def test_principal_colors_are_those_of_the_processor():
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(5000, 48)) * np.arange(1, 49)).float()
    off = principal_colors(values.cuda()).cpu().int() - principal_colors(values).int()
    assert off.abs().max() <= 1


def test_points_that_no_pass_reached_get_the_mean_of_their_voxel(segmenters):
    options = Options(mode="exact", fields=OF_CLASSES, max_passes=3)
    cloud = make_terrain(6000, extent_m=14.0)
    here, there = (segmenter.segment(cloud, options) for segmenter in segmenters)
    assert here.meta.passes == 3
    assert_near(there, here)


def test_a_pass_that_does_not_fit_goes_in_halves(segmenters, monkeypatch):
    cloud, options = make_terrain(4000, extent_m=14.0), Options(mode="exact", fields=OF_CLASSES)
    expected = segmenters[1].segment(cloud, options)
    probabilities, sizes = exact._Tester._probabilities, []

    def short_of_memory(self, batch):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return probabilities(self, batch)

    monkeypatch.setattr(exact._Tester, "_probabilities", short_of_memory)
    found = segmenters[1].segment(cloud, options)
    assert max(sizes) > 1
    assert_near(found, expected)
