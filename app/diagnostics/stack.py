"""The optional libraries around Pointcept, and which of them work here. pointserve itself needs none."""

from dataclasses import dataclass
from typing import Any

from .attempt import Attempt


@dataclass(frozen=True)
class Library:
    """``module`` is what gets imported: the part that Pointcept uses; ``install`` is how to get the library."""

    module: str
    install: str


_WHEELS = "pip install {} -f https://data.pyg.org/whl/torch-<torch version>+<cpu or CUDA, as cu126>.html"
STACK = {
    "spconv": Library("spconv.pytorch", "pip install spconv-cu<CUDA version, as 126>"),
    "cumm": Library("cumm.tensorview", "pip install cumm-cu<CUDA version, as 126>"),
    "torch_scatter": Library("torch_scatter", _WHEELS.format("torch_scatter")),
    "torch_cluster": Library("torch_cluster", _WHEELS.format("torch_cluster")),
    "torch_sparse": Library("torch_sparse", _WHEELS.format("torch_sparse")),
    "torch_geometric": Library("torch_geometric", "pip install torch_geometric"),
    "flash_attn": Library("flash_attn", "pip install flash-attn --no-build-isolation"),
    "ocnn": Library("ocnn", "pip install ocnn"),
    "pointcept": Library("pointcept.models", "export PYTHONPATH=<checkout of Pointcept>"),
}


def entry(name: str, attempt: Attempt) -> dict[str, Any]:
    """The report's entry of one library: name, state ok, absent or broken, version or reason and remedy."""
    found = attempt.value or {"state": "broken", "reason": f"its import {attempt.reason}"}
    if found["state"] == "ok":
        return {"name": name, **found}
    if found["state"] == "absent":
        remedy = f"Not needed by pointserve. For Pointcept itself: `{STACK[name].install}`."
        return {"name": name, "state": "absent", "remedy": remedy}
    return {"name": name, **found, "remedy": _remedy(name, found["reason"])}


def _remedy(name: str, reason: str) -> str:
    install = STACK[name].install
    if "undefined symbol" in reason:
        return f"{name} was built against another torch; uninstall it and get a build for this one: `{install}`."
    if "cannot open shared object file" in reason:
        return f"A shared library is missing, often that of another CUDA; get a build for this torch: `{install}`."
    if reason.startswith("No module named"):
        return f"Install what {name} lacks ({reason.removeprefix('No module named ')}), or uninstall {name}."
    return (
        f"Not needed by pointserve. Uninstall {name}, or get a build that matches this torch and driver: `{install}`."
    )
