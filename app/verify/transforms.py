"""The case of transforms: each transform of a test pipeline by itself, voxels and fragments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sparseops.reference_grid import grid_keys

from app.pipeline import transforms, voxelize
from app.pipeline.sample import Sample

from .arrays import FLOAT_TOLERANCE, different, distance, read
from .result import CaseResult, judge


def run(case: Path, config: Mapping[str, Any], device: str) -> CaseResult:
    """Compare the outputs of every transform with those of the case."""
    params = config["params"]
    arrays, expected = read(case / "input.npz"), read(case / "output.npz")
    given = {name: torch.from_numpy(values).to(device) for name, values in arrays.items()}
    tensors, wrong = _chain_outputs(given, params), []
    for tag, grid_size in params["grid_sizes"].items():
        grid_outputs, grid_wrong = _grid_outputs(given, expected, tag, grid_size)
        tensors |= grid_outputs
        wrong += grid_wrong
    raveled = voxelize.voxelize(given["coord"], params["ravel_grid_size"], "ravel")
    tensors |= {"ravel_grid_coord": raveled.grid_coord[raveled.first_points()], "ravel_inverse": raveled.inverse}
    keyed = np.floor(arrays["coord"][: len(expected["fnv_keys"])] / np.float64(params["ravel_grid_size"])).astype(int)
    keyed -= keyed.min(0)
    outputs = {name: values.cpu().numpy() for name, values in tensors.items()} | {
        "fnv_keys": _keys(keyed, "fnv"),
        "ravel_keys": _keys(keyed, "ravel"),
    }
    wrong += different(outputs, expected)
    floats = [distance(value, expected[key]) for key, value in outputs.items() if value.dtype.kind == "f"]
    return judge(case.name, "transforms", max(floats), FLOAT_TOLERANCE, None, wrong)


def _keys(grid_coord: np.ndarray, hash_type: str) -> np.ndarray:
    return grid_keys(torch.from_numpy(grid_coord), hash_type).numpy().view(np.uint64)


def _chain_outputs(given: Sample, params: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Outputs of single transforms, by the names of the case."""

    def run(sample: Sample, **transform: Any) -> Sample:
        return transforms.apply([transform], sample)

    few = {key: value[:500] for key, value in given.items()}
    rows = {"row": torch.arange(len(given["coord"]), device=given["coord"].device)}
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
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Outputs of GridSample to compare as they are, and what is wrong with those that an unstable sort reorders."""
    voxels = voxelize.voxelize(given["coord"], grid_size)
    picked, first = torch.from_numpy(expected[f"{tag}_train_idx"]).to(voxels.inverse.device), voxels.first_points()
    outputs = {
        f"{tag}_inverse": voxels.inverse,
        f"{tag}_grid_coord": voxels.grid_coord[first],
        f"{tag}_fragment0_grid_coord": voxels.grid_coord[first],
        f"{tag}_min_coord": (voxels.lowest * voxels.grid_size).reshape(1, 3),
        f"{tag}_displacement": voxels.displacement(given["coord"], picked),
    }
    inverse = voxels.inverse.cpu().numpy()
    wrong = []
    if not np.array_equal(inverse[expected[f"{tag}_train_idx"]], np.arange(len(voxels))):
        wrong.append(f"{tag}_train_idx")
    ours, theirs = torch.stack(list(voxels.fragments())).cpu().numpy(), expected[f"{tag}_fragments"]
    if (
        ours.shape != theirs.shape
        or (inverse[theirs] != np.arange(len(voxels))).any()
        or not np.array_equal(np.unique(ours), np.unique(theirs))
    ):
        wrong.append(f"{tag}_fragments")
    return outputs, wrong
