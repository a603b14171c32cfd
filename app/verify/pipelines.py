"""Pipeline cases: the whole test procedure of a config on a raw cloud, every view and every fragment."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from app.clouds.cloud import Cloud
from app.options import Mode, Options
from app.pipeline import exact, prepare, views
from app.pipeline.exact import ProbabilitySums
from app.pipeline.prepare import TransformedCloud
from app.pipeline.run_context import RunContext
from app.pipeline.segmenter import Segmenter
from app.zoo import loading, procedure_parser

from .arrays import different, read
from .networks import why_not_served
from .result import AGREEMENT, CaseResult, judge, not_served

SUM_TOLERANCE = 2e-3  # for each view, of softmax outputs summed over its fragments
EVERY_PASS = 1 << 30


def run(case: Path, config: Mapping[str, Any], device: str) -> CaseResult:
    """Compare fragments, the point that stands for each point, sums and labels with the output of the case."""
    reason = why_not_served(config["model"])
    if reason:
        return not_served(case.name, "pipeline", reason)
    expected, cloud = read(case / "output.npz"), cloud_of(read(case / "input.npz"))
    network = loading.build(config["model"], load_file(case / "weights.safetensors"))
    segmenter = Segmenter(network, procedure_parser.parse(case.name, config), device)
    seed = int(config["np_random_seed"])
    transformed, found = sums_of_all_passes(segmenter, cloud, seed)
    wrong = different(_fragments(segmenter, transformed), expected)
    if "inverse" in expected:
        wrong += different({"inverse": transformed.projection.rows.cpu().numpy()}, expected)
    labels = segmenter.segment(cloud, Options(mode=Mode.EXACT, seed=seed, max_passes=EVERY_PASS)).labels
    agreement = float((labels == expected["label_full"]).mean())
    off = sum_distance(found.sums.cpu().numpy(), expected["prob_sum"])
    return judge(case.name, "pipeline", off, sum_tolerance(segmenter), agreement, wrong)


def cloud_of(arrays: Mapping[str, np.ndarray]) -> Cloud:
    """The cloud that Pointcept's names stand for."""
    return Cloud(
        xyz=arrays["coord"].astype(np.float64),
        format="npz",
        rgb=arrays["color"].round().astype(np.uint8) if "color" in arrays else None,
        normals=arrays.get("normal"),
        intensity=arrays["strength"].reshape(-1) if "strength" in arrays else None,
        intensity_scale=1.0,
    )


def sums_of_all_passes(segmenter: Segmenter, cloud: Cloud, seed: int) -> tuple[TransformedCloud, ProbabilitySums]:
    """The points of the cloud after the transforms, and the sums of every pass for them."""
    transformed = prepare.apply_transforms(
        cloud, segmenter.procedure, seed, str(segmenter.inference.device), RunContext([]), thin=True
    )
    if transformed is None:
        raise ValueError("no point of the cloud is usable")
    found = exact.sum_probabilities(
        segmenter.inference, transformed.sample, segmenter.procedure, segmenter.tile_voxels, EVERY_PASS, RunContext([])
    )
    return transformed, found


def sum_distance(sums: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference among the 99.9 % of the points (rows) that are nearest; inf if the shapes differ."""
    if sums.shape != expected.shape:
        return float("inf")
    of_point = np.abs(sums.astype(np.float64) - expected).max(1)
    nearest = np.sort(of_point)[: int(np.ceil(AGREEMENT * len(of_point)))]  # NaN is sorted last
    return float(nearest[-1]) if np.isfinite(nearest[-1]) else float("inf")


def sum_tolerance(segmenter: Segmenter) -> float:
    """Largest difference allowed between sums of softmax outputs."""
    return SUM_TOLERANCE * max(1, len(segmenter.procedure.aug_transform))


def _fragments(segmenter: Segmenter, transformed: TransformedCloud) -> dict[str, np.ndarray]:
    """Size of every fragment of every view, the first two of the first view and voxels of the first."""
    viewed = [
        views.apply_view(transformed.sample, steps, segmenter.procedure)[1]
        for steps in segmenter.procedure.aug_transform
    ]
    first, second = islice(viewed[0].fragments(), 2)
    return {
        "fragment_sizes": np.concatenate([np.full(int(voxels.counts.max()), len(voxels)) for voxels in viewed]),
        "fragment0_index": first.cpu().numpy(),
        "fragment1_index": second.cpu().numpy(),
        "fragment0_grid_coord": viewed[0].grid_coord[first][:2000].cpu().numpy(),
    }
