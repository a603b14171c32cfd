"""The energy of the logits: what the network was not trained for has more of it."""

import numpy as np
import pytest
import torch

from app.errors import BadRequest
from app.options import Options
from app.pipeline.batch import SegmentationRequest, segment_batch
from app.pipeline.inference import energy
from app.pipeline.run_context import never_cancelled
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import make_terrain

FIELDS = ("energy", "probabilities")


@pytest.mark.parametrize("tile_voxels", [400_000, 900])
def test_energy_is_that_of_the_logits_and_changes_no_label(network, procedure, tile_voxels):
    segmenter, cloud = Segmenter(network, procedure, tile_voxels=tile_voxels), make_terrain()
    cloud.xyz[5] = np.nan
    plain = segmenter.segment(cloud, Options(fields=("probabilities",)))
    out = segmenter.segment(cloud, Options(fields=FIELDS))
    np.testing.assert_array_equal(out.labels, plain.labels)
    np.testing.assert_array_equal(out.fields["probabilities"], plain.fields["probabilities"])
    assert out.fields["energy"].dtype == np.float32
    assert out.fields["energy"][5] == 0
    if tile_voxels > 900:
        prepared = segmenter.prepare(cloud)
        logits = segmenter.logits(prepared).double().numpy()
        expected = -np.log(np.exp(logits).sum(1))[prepared.projection.rows.clamp(min=0)]
        expected[5] = 0
        np.testing.assert_allclose(out.fields["energy"], expected, atol=1e-4)


def test_clouds_of_a_shared_pass_have_the_energy_that_they_have_alone(network, procedure):
    segmenter, clouds = Segmenter(network, procedure), [make_terrain(seed=seed) for seed in (0, 1)]
    asked = [Options(fields=FIELDS), Options(fields=("confidence",))]
    requests = [SegmentationRequest(*each, never_cancelled) for each in zip(clouds, asked, strict=True)]
    first, second = segment_batch(segmenter, requests, segmenter.tile_voxels)
    assert first.batch_size == 2
    alone = segmenter.segment(clouds[0], asked[0])
    np.testing.assert_array_equal(first.result.fields["energy"], alone.fields["energy"])
    assert set(second.result.fields) == {"confidence"}


def test_logits_of_any_size_have_a_finite_energy():
    logits = torch.tensor([[1000.0, 999.0], [-1000.0, -1001.0]])
    assert energy(logits).tolist() == pytest.approx([-1000.3133, 999.6867], abs=1e-3)


def test_energy_is_found_in_one_pass_only(network, procedure):
    with pytest.raises(BadRequest, match="energy is found in mode=fast only"):
        Segmenter(network, procedure).for_options(Options(mode="exact", fields=("energy",)))
