"""Refined labels on a CUDA device are those of the processor."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.options import Options
from app.pipeline.segmenter import Segmenter
from app.refine.runner import refine
from tests.pipeline.pipeline_samples import make_network, make_procedure, make_terrain
from tests.refine.refine_samples import make_scene

pytestmark = pytest.mark.gpu
CODES = (2, 3, 4, 5, 6, 9)
AREA = '{"type": "Polygon", "coordinates": [[[0, 0], [30, 5], [25, 40], [3, 30]], [[10, 10], [15, 10], [12, 15]]]}'
ASKED = {
    "doubt": Options(min_confidence=0.35, max_entropy=1.6),
    "kept": Options(preserve=(9, 17), only=(1, 2, 9), preserve_flags=("withheld", "overlap"), within=AREA),
    "coded": Options(classes=("class 0:64", "11:65"), preserve=(2,)),
}


@pytest.mark.parametrize("asked", ASKED)
def test_answers_are_those_of_the_processor(asked):
    cloud = make_terrain(20_000)
    cloud.xyz[::777] = np.nan
    cloud.num_context = 3000
    rng = np.random.default_rng(0)
    cloud.extra["classification"] = rng.choice(np.array([1, 2, 9, 12, 17], np.uint8), len(cloud))
    cloud.extra["withheld"] = (rng.random(len(cloud)) < 0.1).astype(np.uint8)
    procedure = make_procedure()
    classes = [replace(info, asprs=code) for info, code in zip(procedure.classes, CODES, strict=True)]
    here, there = (
        Segmenter(make_network(), replace(procedure, classes=classes), device).segment(cloud, ASKED[asked])
        for device in ("cpu", "cuda")
    )
    assert (there.labels == here.labels).mean() >= 0.999
    assert there.meta.classes == here.meta.classes
    for ours, theirs in zip(here.meta.refined, there.meta.refined, strict=True):
        assert ours.step == theirs.step
        assert abs(ours.changed - theirs.changed) <= 20


def test_steps_on_a_device_change_what_they_change_here():
    rng = np.random.default_rng(1)
    labels, sure = rng.integers(-1, 3, 5000), rng.uniform(0.4, 1, 5000)
    xyz, own = rng.uniform(0, 40, (5000, 3)), rng.integers(0, 20, 5000)
    here, there = (make_scene(labels, xyz, sure=sure, classification=own, device=device) for device in ("cpu", "cuda"))
    for options in ASKED.values():
        assert refine(here, options) == refine(there, options)
        assert torch.equal(here.whole, there.whole.cpu())
