"""Operation cases: goldens of single operators of pointops, pointgroup_ops and sparseops."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.operators import LIBRARIES
from app.operators.operator import Golden

from .arrays import FLOAT_TOLERANCE, different, distance, read
from .result import CaseResult, judge, not_served


def run(case: Path, config: Mapping[str, Any], device: str) -> CaseResult:
    """Compare the outputs of one operator, compiled if it is, with those of the case.

    NaN in an answer says that it is not defined there.
    """
    found = _golden(config["op"])
    if isinstance(found, str):
        return not_served(case.name, "operation", found)
    given = {name: torch.from_numpy(array).to(device) for name, array in read(case / "input.npz").items()}
    expected = read(case / "output.npz")
    with torch.inference_mode():
        outputs = {name: tensor.cpu().numpy() for name, tensor in found(given, config["params"]).items()}
    if config["op"] == "op_ball_query":
        _leave_out_thinned(expected)
    for name in outputs.keys() & expected.keys():
        if outputs[name].shape == expected[name].shape and expected[name].dtype.kind == "f":
            defined = ~np.isnan(expected[name])
            outputs[name], expected[name] = outputs[name][defined], expected[name][defined]
    wrong = [*different(outputs, expected), *sorted(expected.keys() - outputs.keys())]
    floats = [distance(array, expected[name]) for name, array in outputs.items() if array.dtype.kind == "f"]
    return judge(case.name, "operation", max(floats, default=0.0), FLOAT_TOLERANCE, None, wrong)


def _golden(name: str) -> Golden | str:
    """What runs a case, or why nothing does."""
    missing = []
    for library in LIBRARIES:
        try:
            goldens = import_module(f"app.operators.{library}").GOLDENS
        except ModuleNotFoundError as error:
            missing.append(f"{error.name} is not installed")
            continue
        if name in goldens:
            return goldens[name]
    return "; ".join(missing) or f"operator {name} is not here yet"


def _leave_out_thinned(expected: dict[str, np.ndarray]) -> None:
    """NaN for the distances of full rows: upstream's kernel gives roots of indices in their place."""
    for name in ("self", "new"):
        expected[f"{name}_dist"][(expected[f"{name}_idx"] >= 0).all(1)] = np.nan
