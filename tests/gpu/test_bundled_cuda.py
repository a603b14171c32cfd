"""The bundled model on a CUDA device: the same as on the processor but for rounding, alone and in batches."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.options import Options
from app.pipeline import roughness as module
from app.pipeline.batch import SegmentationRequest, segment_batch
from app.pipeline.neighbours import CHUNK_POINTS
from app.pipeline.roughness import roughness
from app.pipeline.run_context import never_cancelled
from app.zoo.loading import load_model
from tests.gpu.cloud_samples import hills

pytestmark = pytest.mark.gpu
FOLDER = Path(__file__).parents[2] / "app/bundled/aerial-semseg-spunet-v1m1"
FIELDS = ("probabilities",)


def test_roughness_is_that_of_the_processor(monkeypatch):
    coord = torch.from_numpy(hills(20_000, 0).xyz).float()
    expected = roughness({"coord": coord}, (10, 32))["roughness"]
    whole = roughness({"coord": coord.cuda()}, (10, 32))["roughness"]
    np.testing.assert_allclose(whole.cpu(), expected, atol=1e-4)
    monkeypatch.setitem(CHUNK_POINTS, "cuda", 7000)
    assert torch.equal(roughness({"coord": coord.cuda()}, (10, 32))["roughness"], whole)


def test_the_processor_takes_the_roughness_that_a_device_lacks_the_memory_for(monkeypatch):
    coord, right = torch.from_numpy(hills(300, 0).xyz).float(), module.roughness_of

    def short_of_memory(coord, neighbours):
        if coord.is_cuda:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return right(coord, neighbours)

    monkeypatch.setattr(module, "roughness_of", short_of_memory)
    found = roughness({"coord": coord.cuda()}, [10])["roughness"]
    assert found.is_cuda
    assert torch.equal(found.cpu(), right(coord, [10]))


def test_labels_are_those_of_the_processor():
    cloud = hills(30_000, 1)
    here, there = (load_model(FOLDER).segmenter(device).segment(cloud) for device in ("cpu", "cuda"))
    assert (here.labels == there.labels).mean() > 0.995  # half precision there


def test_stages_take_what_the_device_took():
    segmenter = load_model(FOLDER).segmenter("cuda")
    segmenter.segment(hills(30_000, 1))
    start_s = time.perf_counter()
    answer = segmenter.segment(hills(30_000, 1), Options(mode="exact", fields=FIELDS))
    spent_ms = 1e3 * (time.perf_counter() - start_s)
    stages = [name for name in answer.meta.timings_ms if name != "wait"]
    assert stages == ["features", "voxelize", "plan", "network", "project"]
    assert min(answer.meta.timings_ms.values()) > 0
    assert 0.5 * spent_ms < sum(answer.meta.timings_ms.values()) < 1.01 * spent_ms


def test_answers_do_not_depend_on_what_is_in_the_same_pass():
    segmenter = load_model(FOLDER).segmenter("cuda")
    clouds = [hills(2000 + 4000 * seed, seed) for seed in range(12)]
    requests = [SegmentationRequest(cloud, Options(fields=FIELDS), never_cancelled) for cloud in clouds]
    outcomes = {outcome.index: outcome for outcome in segment_batch(segmenter, requests, 60_000)}
    assert sorted(outcomes) == list(range(12))
    assert max(outcome.batch_size for outcome in outcomes.values()) > 1
    for index, cloud in enumerate(clouds):
        alone = segmenter.segment(cloud, Options(fields=FIELDS))
        np.testing.assert_array_equal(outcomes[index].result.labels, alone.labels)
        np.testing.assert_array_equal(outcomes[index].result.fields["probabilities"], alone.fields["probabilities"])
