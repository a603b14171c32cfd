"""Goldens: known inputs with known answers, run on this machine, to prove that it computes what it should."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from app.clouds.cloud import Cloud
from app.errors import BadModel, BadRequest
from app.networks import registry
from app.networks.fold import fold
from app.networks.scene import Scene
from app.pipeline import transforms, voxelize
from app.pipeline.sample import Sample
from app.pipeline.segmenter import Segmenter
from app.zoo import experiment, loading

LOGITS_TOLERANCE, LOGITS_TOLERANCE_GPU = 5e-4, 1e-3
FLOAT_TOLERANCE = 1e-5
AGREEMENT = 0.999


@dataclass(frozen=True)
class CaseResult:
    """What one case came to.

    ``kind`` is network, experiment, transforms, pipeline or operation; ``verdict`` is pass, fail or not served.
    Measures are None where the case has none. ``argmax_agreement`` is the share of points with the same label.
    """

    name: str
    kind: str
    verdict: str
    max_abs_diff: float | None = None
    tolerance: float | None = None
    argmax_agreement: float | None = None
    detail: str = ""


def verify(folder: Path | str, only: Sequence[str] = (), device: str = "cpu") -> Iterator[CaseResult]:
    """Run the cases of ``folder``, one result after the other.

    ``folder`` is a case, a folder of cases, or one with cases under experiments/ as well. A case is a folder with
    config.json, input.npz and output.npz, or an experiment folder with expected.npz. ``only`` are patterns (``*``,
    ``?``) of which a case's name must match one. Raises BadRequest where no case is left.
    """
    cases = [case for case in _find(Path(folder)) if not only or any(fnmatch(case.name, pattern) for pattern in only)]
    if not cases:
        named = f" that match {', '.join(only)}" if only else ""
        raise BadRequest(
            f"{folder} holds no cases{named}; a case is a folder with config.json, input.npz and output.npz, "
            "or an experiment folder with expected.npz"
        )
    return (_run(case, device) for case in cases)


def _find(folder: Path) -> list[Path]:
    if _is_case(folder):
        return [folder.resolve()]
    return [path for pattern in ("*", "experiments/*") for path in sorted(folder.glob(pattern)) if _is_case(path)]


def _is_case(path: Path) -> bool:
    return (path / "config.json").is_file() or ((path / "config.py").is_file() and (path / "expected.npz").is_file())


def _run(case: Path, device: str) -> CaseResult:
    kind = "case"
    try:
        config = json.loads((case / "config.json").read_text()) if (case / "config.json").is_file() else None
        kind = _kind(config)
        if config is None:
            return _experiment(case, device)
        if kind == "network":
            return _network(case, config, device)
        if kind == "transforms":
            return _transforms(case, config["params"])
        reason = "exact mode is not served yet" if kind == "pipeline" else f"operator {config['op']} is not here yet"
        return CaseResult(case.name, kind, "not served", detail=reason)
    except Exception as error:  # whatever is wrong with one case, the others run
        return CaseResult(case.name, kind, "fail", detail=f"{type(error).__name__}: {error}")


def _kind(config: Mapping[str, Any] | None) -> str:
    if config is None:
        return "experiment"
    if config.get("op") == "transforms":
        return "transforms"
    if "op" in config:
        return "operation"
    return "pipeline" if "data" in config else "network"


def _why_not_served(model: Mapping[str, Any]) -> str:
    """Why the network cannot be built, '' where it can."""
    try:
        with torch.device("meta"):
            registry.build(model)
    except BadModel as error:
        return error.detail
    return ""


def _network(case: Path, config: Mapping[str, Any], device: str) -> CaseResult:
    reason = "semantics of old Pointcept versions are not served yet" if config.get("legacy") else ""
    reason = reason or _why_not_served(config["model"])
    if reason:
        return CaseResult(case.name, "network", "not served", detail=reason)
    network: Any = fold(loading.build(config["model"], load_file(case / "weights.safetensors")).to(device))
    given, expected = _read(case / "input.npz"), _read(case / "output.npz")
    batch = np.repeat(np.arange(len(given["offset"])), np.diff(given["offset"], prepend=0))
    coords = np.column_stack([batch, given["grid_coord"]]).astype(np.int64)
    with torch.inference_mode():
        voxels, coord = (torch.from_numpy(array).to(device) for array in (coords, given["coord"]))
        plan = network.plan(Scene(voxels, coord, joint=True))
        logits = network(torch.from_numpy(given["feat"]).to(device), plan).float().cpu().numpy()
    target = expected["logits_f32"] if "logits_f32" in expected else expected["logits"]
    agreement = float((logits.argmax(1) == target.argmax(1)).mean())
    return _judge(case.name, "network", _distance(logits, target), _tolerance(device), agreement)


def _experiment(case: Path, device: str) -> CaseResult:
    reason = _why_not_served(experiment.load(case).model)
    if reason:
        return CaseResult(case.name, "experiment", "not served", detail=reason)
    model = loading.load_model(case)
    expected = _read(case / "expected.npz")
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
    wrong = _different(
        {"index_fast": prepared.voxels.first_points(), "voxel_of_point": prepared.voxels.inverse}, expected
    )
    logits = segmenter.logits(prepared).cpu().numpy()[: len(expected["logits_fast"])]
    agreement = float((segmenter.segment(cloud).labels == expected["label_fast"]).mean())
    return _judge(
        case.name, "experiment", _distance(logits, expected["logits_fast"]), _tolerance(device), agreement, wrong
    )


def _transforms(case: Path, params: Mapping[str, Any]) -> CaseResult:
    given, expected = _read(case / "input.npz"), _read(case / "output.npz")
    outputs, wrong = _chain_outputs(given, params), []
    for tag, grid_size in params["grid_sizes"].items():
        grid_outputs, grid_wrong = _grid_outputs(given, expected, tag, grid_size)
        outputs |= grid_outputs
        wrong += grid_wrong
    raveled = voxelize.voxelize(given["coord"], params["ravel_grid_size"], "ravel")
    keyed = np.floor(given["coord"][: len(expected["fnv_keys"])] / np.float64(params["ravel_grid_size"])).astype(int)
    keyed -= keyed.min(0)
    outputs |= {
        "ravel_grid_coord": raveled.grid_coord[raveled.first_points()],
        "ravel_inverse": raveled.inverse,
        "fnv_keys": voxelize.fnv_keys(keyed),
        "ravel_keys": voxelize.ravel_keys(keyed),
    }
    wrong += _different(outputs, expected)
    floats = [_distance(value, expected[key]) for key, value in outputs.items() if value.dtype.kind == "f"]
    return _judge(case.name, "transforms", max(floats), FLOAT_TOLERANCE, None, wrong)


def _chain_outputs(given: Sample, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Outputs of single transforms, by the names of the case."""

    def run(sample: Sample, **transform: Any) -> Sample:
        return transforms.apply([transform], sample)

    few = {key: value[:500] for key, value in given.items()}
    rows = {"row": np.arange(len(given["coord"]))}
    outputs = {
        "center_shift_True": run(given, type="CenterShift", apply_z=True)["coord"],
        "center_shift_False": run(given, type="CenterShift", apply_z=False)["coord"],
        "positive_shift": run(given, type="PositiveShift")["coord"],
        "normalize_coord": run(given, type="NormalizeCoord")["coord"],
        "normalize_color": run(given, type="NormalizeColor")["color"],
        "point_clip": run(given, type="PointClip", point_cloud_range=params["point_clip_range"])["coord"],
        "scale_095": run(few, type="RandomScale", scale=[0.95, 0.95])["coord"],
        "sphere_crop_center_idx": run(given | rows, type="SphereCrop", mode="center", point_max=2000)["row"],
    }
    for name, transform in [("flip", {"type": "RandomFlip", "p": 1})] + [
        (f"rotate_z_{angle}", {"type": "RandomRotateTargetAngle", "angle": [float(angle)], "center": [0, 0, 0], "p": 1})
        for angle in ("0", "0.5", "1", "1.5")
    ]:
        turned = run(few, **transform)
        outputs |= {f"{name}_coord": turned["coord"], f"{name}_normal": turned["normal"]}
    return outputs


def _grid_outputs(
    given: Sample, expected: Mapping[str, np.ndarray], tag: str, grid_size: float
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Outputs of GridSample to compare as they are, and what is wrong with those that an unstable sort reorders."""
    voxels = voxelize.voxelize(given["coord"], grid_size)
    picked, first = expected[f"{tag}_train_idx"], voxels.first_points()
    outputs = {
        f"{tag}_inverse": voxels.inverse,
        f"{tag}_grid_coord": voxels.grid_coord[first],
        f"{tag}_fragment0_grid_coord": voxels.grid_coord[first],
        f"{tag}_min_coord": (voxels.lowest * voxels.grid_size).reshape(1, 3),
        f"{tag}_displacement": voxels.displacement(given["coord"], picked),
    }
    wrong = []
    if not np.array_equal(voxels.inverse[picked], np.arange(len(voxels))):
        wrong.append(f"{tag}_train_idx")
    ours, theirs = np.stack(list(voxels.fragments())), expected[f"{tag}_fragments"]
    if (
        ours.shape != theirs.shape
        or (voxels.inverse[theirs] != np.arange(len(voxels))).any()
        or not np.array_equal(np.unique(ours), np.unique(theirs))
    ):
        wrong.append(f"{tag}_fragments")
    return outputs, wrong


def _different(outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the integer outputs that are not equal, and of the float ones beyond the tolerance."""
    return [
        name
        for name, value in outputs.items()
        if value.shape != expected[name].shape
        or not (
            np.allclose(value, expected[name], rtol=FLOAT_TOLERANCE, atol=FLOAT_TOLERANCE)
            if value.dtype.kind == "f"
            else np.array_equal(value, expected[name])
        )
    ]


def _judge(
    name: str,
    kind: str,
    max_abs_diff: float,
    tolerance: float,
    agreement: float | None,
    wrong: Sequence[str] = (),
) -> CaseResult:
    close = max_abs_diff <= tolerance and (agreement is None or agreement >= AGREEMENT)
    detail = f"different: {', '.join(wrong)}" if wrong else ""
    return CaseResult(name, kind, "pass" if close and not wrong else "fail", max_abs_diff, tolerance, agreement, detail)


def _distance(values: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; inf where the shapes differ or something is not finite."""
    if values.shape != expected.shape:
        return float("inf")
    distance = float(np.abs(values.astype(np.float64) - expected).max(initial=0))
    return distance if np.isfinite(distance) else float("inf")


def _tolerance(device: str) -> float:
    return LOGITS_TOLERANCE if device == "cpu" else LOGITS_TOLERANCE_GPU


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}
