"""Network cases: logits of a network built from a config and weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from app.errors import BadModel
from app.networks import registry
from app.networks.precision import PRECISIONS
from app.networks.upstream import lacks_flash
from app.networks.voxel_batch import VoxelBatch
from app.pipeline.inference import Inference
from app.pipeline.run_context import RunContext
from app.zoo import loading
from app.zoo.backend import wrap
from app.zoo.legacy import has_blocks, with_old_blocks
from app.zoo.procedure_parser import FEATURE_WIDTHS

from . import instances
from .arrays import distance, read
from .result import AGREEMENT, CaseResult, judge, not_served

FEATURES_TOLERANCE = 1e-3  # of the largest
LOGITS_TOLERANCE, LOGITS_TOLERANCE_GPU = 5e-4, 1e-3
ROUNDED = {"upstream": (0.05, 0.995), "fp16": (0.1, 0.99), "bf16": (0.5, 0.96)}  # logits deviate by 1.5


def run(
    case: Path, config: Mapping[str, Any], device: str, precision: str = "fp32", backend: str = "auto"
) -> CaseResult:
    """Compare the logits of the case's input, and its instances if it has some, with its output.

    Features and instances are compared in float32 alone.
    """
    model, reason = config["model"], ""
    given, expected = read(case / "input.npz"), read(case / "output.npz")
    if config.get("legacy"):
        if has_blocks(model):
            model = with_old_blocks(model)
        else:
            reason = "semantics of old Pointcept versions are served for PT-v3m1 alone"
    extra = [name for name in given if name in FEATURE_WIDTHS and name != "coord"]
    if backend == "upstream" or (backend == "auto" and not registry.is_native(model)):
        model = wrap(model, {name: given[name].shape[1] for name in ("feat", *extra)} if extra else {})
        given["feat"] = np.column_stack([given[name] for name in ("feat", *extra)])
        if "perms" in expected or (len(given["offset"]) > 1 and lacks_flash(config["model"])):
            reason = "Pointcept does not shuffle here, and without flash_attn cuts the clouds of a batch otherwise"
    reason = reason or why_not_served(model)
    if reason:
        return not_served(case.name, "network", reason)
    plain: Any = loading.build(model, load_file(case / "weights.safetensors"))
    if PRECISIONS[precision].dtype != torch.float32 and not plain.supports_half_precision:
        return not_served(case.name, "network", "the network runs in float32 alone")
    target = expected["logits_f32"] if "logits_f32" in expected and precision != "upstream" else expected["logits"]
    inference = Inference(plain, target.shape[1], device, precision=precision)
    network = inference.network
    batch = np.repeat(np.arange(len(given["offset"])), np.diff(given["offset"], prepend=0))
    coords = np.column_stack([batch, given["grid_coord"]]).astype(np.int64)
    with torch.inference_mode():
        voxels, coord = (torch.from_numpy(array).to(device) for array in (coords, given["coord"]))
        condition = str(given["condition"][0]) if "condition" in given else None
        shuffles = torch.from_numpy(expected["perms"]) if "perms" in expected else None
        plan = network.plan(VoxelBatch(voxels, coord, joint=True, condition=condition, shuffles=shuffles))
        run = RunContext([])
        feat = torch.from_numpy(given["feat"]).to(device)
        logits = inference.in_range(lambda twin: twin.logits(feat, plan, run), run).cpu().numpy()
        has_instances = "pred_masks_packed" in expected
        wrong = instances.wrong(network, feat, plan, given, expected, allowed(device)[0]) if has_instances else []
        if precision == "fp32" and _features_differ(network, feat, plan, expected):
            wrong.append("backbone_feat")
    agreement = float((logits.argmax(1) == target.argmax(1)).mean())
    tolerance, least = allowed(device, precision)
    result = judge(case.name, "network", distance(logits, target), tolerance, agreement, wrong, least)
    return replace(result, detail=" ".join([result.detail, *run.warnings]).strip())


def _features_differ(network: Any, feat: Tensor, plan: Any, expected: Mapping[str, np.ndarray]) -> bool:
    """Whether the case has features, computed without casts, that the network does not give."""
    if "backbone_feat" not in expected or "logits_f32" in expected or not network.gives_features:
        return False
    target = expected["backbone_feat"]
    features = network.logits_and_features(feat, plan)[1].float().cpu().numpy()
    return distance(features, target) > FEATURES_TOLERANCE * np.abs(target).max()


def why_not_served(model: Mapping[str, Any]) -> str:
    """Why the network cannot be built, '' if it can."""
    try:
        with torch.device("cpu" if model["type"] == registry.UPSTREAM else "meta"):
            registry.build(model)
    except BadModel as error:
        return error.detail
    return ""


def allowed(device: str, precision: str = "fp32") -> tuple[float, float]:
    """Largest difference between logits and least share of equal labels."""
    if precision != "fp32":
        return ROUNDED[precision]
    return (LOGITS_TOLERANCE if device == "cpu" else LOGITS_TOLERANCE_GPU), AGREEMENT
