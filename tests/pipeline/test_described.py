"""Features of the points: what the last layer of a network reads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.clouds.principal import principal_colors
from app.errors import BadRequest, TooLarge
from app.networks.registry import build
from app.options import Options
from app.pipeline import field_values
from app.pipeline.batch import SegmentationRequest, segment_batch
from app.pipeline.run_context import never_cancelled
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import PROBE, make_procedure, make_terrain

HEADS = [
    {"type": "CAC-v1m1", "num_classes": 4},
    {"type": "PG-v1m1", "semantic_num_classes": 4},
    {"type": "PPT-v1m3", "class_names": [["a", "b", "c", "d"]], "conditions": ["ScanNet"]},
]


@pytest.fixture(scope="module")
def probe():
    torch.manual_seed(0)
    return build(PROBE).requires_grad_(False)


@pytest.fixture
def described(probe):
    return Segmenter(probe, make_procedure(num_classes=4))


@pytest.fixture
def encoder(probe):
    torch.manual_seed(0)
    network = build({"type": "Encoder", "backbone": PROBE["backbone"]})
    network.backbone.load_state_dict(probe.backbone.state_dict())
    return Segmenter(network.requires_grad_(False), make_procedure(num_classes=0))


def test_the_last_layer_makes_the_probabilities_of_them(described, probe):
    answer = described.segment(make_terrain(), Options(fields=("features", "probabilities")))
    assert answer.fields["features"].shape == (3000, 24)
    assert answer.fields["features"].dtype == np.float32
    logits = probe.seg_head(torch.from_numpy(answer.fields["features"]))
    np.testing.assert_allclose(logits.softmax(1).numpy(), answer.fields["probabilities"], atol=1e-5)


def test_labels_are_the_same_with_and_without(described):
    cloud = make_terrain()
    np.testing.assert_array_equal(
        described.segment(cloud, Options(fields=("features",))).labels, described.segment(cloud).labels
    )


def test_a_network_with_its_own_last_layer_gives_what_that_reads(network, procedure):
    answer = Segmenter(network, procedure).segment(make_terrain(), Options(fields=("features", "probabilities")))
    final = network.backbone.final
    logits = torch.from_numpy(answer.fields["features"]) @ final.weight.reshape(final.weight.shape[-1], -1) + final.bias
    np.testing.assert_allclose(logits.detach().softmax(1).numpy(), answer.fields["probabilities"], atol=1e-5)


def test_tiles_are_joined(described):
    cloud = make_terrain(num_points=6000, extent_m=150.0)
    whole = described.segment(cloud, Options(fields=("features",))).fields["features"]
    described.tile_voxels = 1500
    tiled = described.segment(cloud, Options(fields=("features",))).fields["features"]
    assert tiled.shape == whole.shape
    assert np.abs(tiled).sum(1).min() > 0
    assert np.corrcoef(tiled.ravel(), whole.ravel())[0, 1] > 0.9


def test_colors_are_those_of_the_voxels_and_zero_where_ignored(described):
    cloud = make_terrain()
    cloud.xyz[5] = np.nan
    answer = described.segment(cloud, Options(fields=("features", "features_rgb")))
    assert not answer.fields["features"][5].any()
    assert not answer.fields["features_rgb"][5].any()
    prepared = described.prepare(cloud)
    usable = np.delete(np.arange(len(cloud)), 5)
    first = usable[prepared.points]
    expected = principal_colors(answer.fields["features"][first])
    np.testing.assert_allclose(answer.fields["features_rgb"][first], expected.astype(int), rtol=0, atol=1)
    only_colors = described.segment(cloud, Options(fields=("features_rgb",)))
    assert "features" not in only_colors.fields
    np.testing.assert_array_equal(only_colors.fields["features_rgb"], answer.fields["features_rgb"])


def test_they_are_the_same_bytes_beside_strangers(described):
    clouds = [make_terrain(seed=seed) for seed in range(3)]
    requests = [
        SegmentationRequest(cloud, Options(fields=("features",) if at == 1 else ()), never_cancelled)
        for at, cloud in enumerate(clouds)
    ]
    outcomes = {outcome.index: outcome.result for outcome in segment_batch(described, requests, 100_000)}
    np.testing.assert_array_equal(
        outcomes[1].fields["features"], described.segment(clouds[1], Options(fields=("features",))).fields["features"]
    )
    np.testing.assert_array_equal(outcomes[0].labels, described.segment(clouds[0]).labels)


def test_an_encoder_has_features_and_no_labels(encoder, described):
    cloud = make_terrain()
    answer = encoder.segment(cloud, Options(fields=("features",)))
    assert (answer.labels == -1).all()
    np.testing.assert_array_equal(
        answer.fields["features"], described.segment(cloud, Options(fields=("features",))).fields["features"]
    )
    assert not any("knows no classes" in warning for warning in answer.meta.warnings)
    assert any("ask for fields=features" in warning for warning in encoder.segment(cloud).meta.warnings)


@pytest.mark.parametrize(
    ("fields", "mode"), [(("entropy", "features"), "fast"), (("features",), "exact"), ((), "exact")]
)
def test_an_encoder_is_not_asked_for_classes(encoder, fields, mode):
    with pytest.raises(BadRequest, match="knows no classes"):
        encoder.segment(make_terrain(), Options(mode=mode, fields=fields))


def test_what_gives_none_says_so(described, monkeypatch):
    with pytest.raises(BadRequest, match="features is found in mode=fast only, got mode=exact"):
        described.segment(make_terrain(), Options(mode="exact", fields=("features",)))
    with pytest.raises(BadRequest, match="features_rgb is found in mode=fast only"):
        described.segment(make_terrain(), Options(mode="exact", fields=("features_rgb",)))
    monkeypatch.setattr(field_values, "MAX_FEATURE_BYTES", 3000 * 24 * 4 - 1)
    with pytest.raises(TooLarge, match="24 features for each of 3,000 points are 288,000 bytes"):
        described.segment(make_terrain(), Options(fields=("features",)))
    assert described.segment(make_terrain(), Options(fields=("features_rgb",))).fields["features_rgb"].any()
    network = build({"type": "DefaultSegmentor", "backbone": {"type": "PT-v2m2", "in_channels": 6, "num_classes": 4}})
    without = Segmenter(network, replace(make_procedure(num_classes=4), name="plain"))
    with pytest.raises(BadRequest, match="model plain gives no features"):
        without.segment(make_terrain(), Options(fields=("features_rgb",)))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head["type"])
def test_heads_of_all_kinds_give_the_features_of_their_backbone(described, probe, head):
    torch.manual_seed(1)
    network = build(head | {"backbone_out_channels": 24, "backbone": PROBE["backbone"]}).requires_grad_(False)
    network.backbone.load_state_dict(probe.backbone.state_dict())
    answer = Segmenter(network, replace(make_procedure(num_classes=4), condition="ScanNet")).segment(
        make_terrain(), Options(fields=("features", "probabilities"))
    )
    np.testing.assert_array_equal(
        answer.fields["features"], described.segment(make_terrain(), Options(fields=("features",))).fields["features"]
    )
    assert answer.fields["probabilities"].shape == (3000, 4)


def test_instances_and_features_are_asked_for_apart():
    network = build(HEADS[1] | {"backbone_out_channels": 24, "backbone": PROBE["backbone"]})
    with pytest.raises(BadRequest, match="one or the other"):
        Segmenter(network, make_procedure(num_classes=4)).segment(
            make_terrain(), Options(fields=("instances", "features"))
        )


def test_a_cloud_without_a_usable_point_has_none(described):
    cloud = make_terrain(num_points=10)
    cloud.xyz[:] = np.nan
    answer = described.segment(cloud, Options(fields=("features", "features_rgb")))
    assert (answer.fields["features"].shape, answer.fields["features_rgb"].shape) == ((10, 0), (10, 3))
