from dataclasses import replace

import numpy as np
import pytest

from app.clouds.georeference import settle
from app.clouds.units import METRE, Units, length
from app.options import Options
from app.pipeline.batch import SegmentationRequest, segment_batch
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import make_procedure, make_terrain

FOOT, US_FOOT = length(0.3048), length(1200 / 3937)
GIVEN = [Units(US_FOOT, US_FOOT, US_FOOT), Units(METRE, METRE, FOOT), Units(FOOT, FOOT, METRE)]


def stated(cloud, units):
    """The same cloud with its numbers in ``units``."""
    return replace(cloud, xyz=cloud.xyz / [unit.metres for unit in units.axes], units=units)


def far_away(**options):
    cloud = make_terrain(**options)
    return replace(cloud, xyz=cloud.xyz + np.array([500_000, 4_500_000, 100]))


@pytest.mark.parametrize("units", GIVEN)
@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_labels_are_those_of_the_same_cloud_in_metres(network, units, mode):
    segmenter = Segmenter(network, make_procedure())
    cloud = far_away()
    expected = segmenter.segment(cloud, Options(mode=mode, fields=("probabilities",)))
    given = stated(cloud, units)
    kept = given.xyz.copy()
    found = segmenter.segment(given, Options(mode=mode, fields=("probabilities",)))
    assert (found.labels == expected.labels).mean() > 0.999  # a point may stand exactly on the side of a voxel
    assert found.meta.units == units
    np.testing.assert_array_equal(given.xyz, kept)
    assert any("feet" in warning and "converted to metres" in warning for warning in found.meta.warnings)
    assert not any("converted" in warning for warning in expected.meta.warnings)


def test_without_units_labels_are_others_and_the_unit_is_assumed(network):
    segmenter = Segmenter(network, make_procedure())
    cloud = far_away()
    out = segmenter.segment(replace(stated(cloud, GIVEN[0]), units=None))
    assert (out.labels == segmenter.segment(cloud).labels).mean() < 0.99
    assert [(unit.name, unit.source) for unit in out.meta.units.axes] == [("metre", "assumed")] * 3


def test_tiles_are_cut_in_metres(network):
    cloud = far_away(num_points=20_000, extent_m=120.0)
    segmenter = Segmenter(network, make_procedure(grid_size=0.5), tile_voxels=2000)
    labels = segmenter.segment(cloud).labels
    assert (segmenter.segment(stated(cloud, GIVEN[0])).labels == labels).mean() > 0.999


def test_clouds_of_a_batch_have_their_own_units(network):
    segmenter = Segmenter(network, make_procedure())
    clouds = [stated(far_away(seed=seed), units) for seed, units in enumerate(GIVEN)]
    requests = [SegmentationRequest(cloud, Options(), lambda: None) for cloud in clouds]
    found = {outcome.index: outcome.result for outcome in segment_batch(segmenter, requests, 100_000)}
    for index, cloud in enumerate(clouds):
        alone = segmenter.segment(cloud)
        np.testing.assert_array_equal(found[index].labels, alone.labels)
        assert found[index].meta.units == alone.meta.units == GIVEN[index]


def test_a_cloud_in_degrees(network):
    segmenter = Segmenter(network, make_procedure())
    cloud = replace(make_terrain(), normals=None)
    degrees = replace(cloud, xyz=cloud.xyz / [111_320 * np.cos(np.radians(10)), 110_600, 1] + [20, 10, 0])
    settle(degrees, crs="EPSG:4326")
    out = segmenter.segment(degrees)
    assert (out.labels == segmenter.segment(cloud).labels).mean() > 0.8  # voxels lie elsewhere on the same terrain
    assert any("degrees" in said and "projected locally to metres" in said for said in out.meta.warnings)


def test_a_model_with_a_unit_of_its_own(network):
    in_feet = replace(make_procedure(grid_size=0.5 / 0.3048), unit=FOOT)
    cloud = make_terrain()
    feet = stated(cloud, Units(FOOT, FOOT, FOOT))
    expected = Segmenter(network, make_procedure(grid_size=0.5)).segment(cloud).labels
    model = Segmenter(network, in_feet)
    found = model.segment(feet)
    assert (found.labels == expected).mean() > 0.999
    assert not found.meta.warnings
    assert (model.segment(replace(feet, units=None)).labels == found.labels).all()
    metric = model.segment(replace(cloud, units=Units(*[length(1.0)] * 3)))
    assert (metric.labels == expected).mean() > 0.999
    assert "converted to feet" in metric.meta.warnings[0]


def test_numbers_beyond_float64_are_left_out(network):
    cloud = make_terrain()
    cloud.xyz[3] = 1e308
    cloud.units = Units(*[length(1000.0)] * 3)
    out = Segmenter(network, make_procedure(grid_size=500.0)).segment(cloud)
    assert out.labels[3] == -1
    assert any("NaN or infinite" in said for said in out.meta.warnings)
