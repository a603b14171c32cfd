"""Experiment cases: labels of a raw cloud by a trained experiment's own config and checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from app.clouds.cloud import Cloud
from app.options import Mode, Options
from app.pipeline.segmenter import Segmenter
from app.settings import ModelSettings
from app.zoo import experiment, loading

from .arrays import different, distance, read
from .networks import allowed, why_not_served
from .pipelines import EVERY_PASS, cloud_of, sum_distance, sum_tolerance, sums_of_all_passes
from .result import CaseResult, judge, not_served

OLD_BLOCKS = "-legacy"  # ends the names of folders from before Pointcept v1.5.2


def run(case: Path, device: str, precision: str = "fp32", backend: str = "auto") -> CaseResult:
    """Compare what both modes make of the cloud of expected.npz with the answers beside it.

    The share of equal labels is that of the mode with fewer. Sums of ``mode=exact`` are compared in float32 alone.
    """
    settings = ModelSettings(legacy_blocks="yes" if case.name.endswith(OLD_BLOCKS) else "auto", backend=backend)
    reason = why_not_served(experiment.load(case, settings).model)
    if reason:
        return not_served(case.name, "experiment", reason)
    model = loading.load_model(case, settings)
    expected = read(case / "expected.npz")
    cloud = cloud_of(expected)
    segmenter = Segmenter(model.network, model.experiment.procedure, device, precision=precision)
    prepared = segmenter.prepare(cloud)
    if prepared is None:
        raise ValueError("no point of the cloud is usable")
    indices = {"index_fast": prepared.points, "voxel_of_point": prepared.projection.rows}
    wrong = different({name: rows.cpu().numpy() for name, rows in indices.items()}, expected)
    logits = segmenter.logits(prepared).cpu().numpy()[: len(expected["logits_fast"])]
    agreement = min(_agreement(segmenter, cloud, expected, mode) for mode in (Mode.FAST, Mode.EXACT))
    sums_off = sum_distance(_sums(segmenter, cloud, _seed(expected)), expected["prob_sum_exact"])
    if precision == "fp32" and not sums_off <= sum_tolerance(segmenter):
        wrong.append("prob_sum_exact")
    tolerance, least = allowed(device, precision)
    off = distance(logits, expected["logits_fast"])
    return judge(case.name, "experiment", off, tolerance, agreement, wrong, least)


def _agreement(segmenter: Segmenter, cloud: Cloud, expected: Mapping[str, np.ndarray], mode: Mode) -> float:
    """Share of the points with the label that the case has for ``mode``."""
    labels = segmenter.segment(cloud, Options(mode=mode, seed=_seed(expected), max_passes=EVERY_PASS)).labels
    return float((labels == expected[f"label_{mode}"]).mean())


def _sums(segmenter: Segmenter, cloud: Cloud, seed: int) -> np.ndarray:
    """float32 (N, num_classes), softmax outputs of every pass of ``mode=exact``, summed by point."""
    if segmenter.inference.finds_instances:  # one pass; every point takes what the nearest pick has
        options = Options(mode=Mode.EXACT, fields=("probabilities",), seed=seed)
        return segmenter.segment(cloud, options).fields["probabilities"]
    transformed, found = sums_of_all_passes(segmenter, cloud, seed)
    return found.sums[transformed.projection.rows].cpu().numpy()


def _seed(expected: Mapping[str, np.ndarray]) -> int:
    return int(expected.get("np_random_seed", 0))
