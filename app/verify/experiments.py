"""Experiment cases: labels of a raw cloud by a trained experiment's own config and checkpoint."""

from pathlib import Path

import numpy as np

from app.clouds.cloud import Cloud
from app.pipeline.segmenter import Segmenter
from app.zoo import experiment, loading

from .arrays import different, distance, read
from .networks import logits_tolerance, why_not_served
from .result import CaseResult, judge, not_served


def run(case: Path, device: str) -> CaseResult:
    """Compare voxels, logits and labels of one pass over the cloud of expected.npz with the answers beside it."""
    reason = why_not_served(experiment.load(case).model)
    if reason:
        return not_served(case.name, "experiment", reason)
    model = loading.load_model(case)
    expected = read(case / "expected.npz")
    cloud = Cloud(
        xyz=expected["coord"].astype(np.float64),
        format="npz",
        rgb=expected["color"].round().astype(np.uint8) if "color" in expected else None,
        normals=expected.get("normal"),
        intensity=expected["strength"].reshape(-1) if "strength" in expected else None,
        intensity_scale=1.0,
    )
    segmenter = Segmenter(model.network, model.experiment.recipe, device)
    prepared = segmenter.prepare(cloud)
    if prepared is None:
        raise ValueError("no point of the cloud is usable")
    wrong = different(
        {"index_fast": prepared.voxels.first_points(), "voxel_of_point": prepared.voxels.inverse}, expected
    )
    logits = segmenter.logits(prepared).cpu().numpy()[: len(expected["logits_fast"])]
    agreement = float((segmenter.segment(cloud).labels == expected["label_fast"]).mean())
    return judge(
        case.name, "experiment", distance(logits, expected["logits_fast"]), logits_tolerance(device), agreement, wrong
    )
