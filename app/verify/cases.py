"""Finds the cases in a folder, recognizes their kinds, and runs them."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from app.errors import BadRequest
from app.networks.precision import PRECISIONS

from . import experiments, networks, operators, pipelines, transforms
from .result import CaseResult, not_served

BACKENDS = ("auto", "native", "upstream")


def verify(
    folder: Path | str, only: Sequence[str] = (), device: str = "cpu", precision: str = "fp32", backend: str = "auto"
) -> Iterator[CaseResult]:
    """Run the cases of ``folder``, one result after the other.

    ``folder`` is a case, a folder of cases, or one with cases under experiments/ as well. A case is a folder with
    config.json, input.npz and output.npz, or an experiment folder with expected.npz. ``only`` are patterns (``*``,
    ``?``) of which a case's name must match one. With a ``precision`` other than fp32 cases of networks and experiments
    alone are run, and what is allowed is wider. Raises BadRequest if no case is left, ``precision`` is none of
    PRECISIONS or ``backend`` none of BACKENDS.
    """
    _check("precision", precision, PRECISIONS)
    _check("backend", backend, BACKENDS)
    cases = [case for case in _find(Path(folder)) if not only or any(fnmatch(case.name, pattern) for pattern in only)]
    if not cases:
        named = f" that match {', '.join(only)}" if only else ""
        raise BadRequest(
            f"{folder} holds no cases{named}; a case is a folder with config.json, input.npz and output.npz, "
            "or an experiment folder with expected.npz"
        )
    return (_run(case, device, precision, backend) for case in cases)


def _check(option: str, value: str, accepted: Collection[str]) -> None:
    if value not in accepted:
        raise BadRequest(f"{option} is {value!r:.50}; accepted are {', '.join(accepted)}")


def _find(folder: Path) -> list[Path]:
    if _is_case(folder):
        return [folder.resolve()]
    return [path for pattern in ("*", "experiments/*") for path in sorted(folder.glob(pattern)) if _is_case(path)]


def _is_case(path: Path) -> bool:
    return (path / "config.json").is_file() or ((path / "config.py").is_file() and (path / "expected.npz").is_file())


def _run(case: Path, device: str, precision: str, backend: str) -> CaseResult:
    kind = "case"
    try:
        config = json.loads((case / "config.json").read_text()) if (case / "config.json").is_file() else None
        kind = _kind(config)
        if config is None:
            return experiments.run(case, device, precision, backend)
        if kind == "network":
            return networks.run(case, config, device, precision, backend)
        if precision != "fp32":
            return not_served(case.name, kind, f"it is computed in float32, {precision} was asked for")
        if kind == "transforms":
            return transforms.run(case, config, device)
        if kind == "operation":
            return operators.run(case, config, device)
        return pipelines.run(case, config, device)
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
