"""The report behind ``pointserve diagnose`` and /diagnostics."""

import importlib.metadata
import importlib.util
import platform
import sys
import time
from contextlib import ExitStack
from typing import Any

from . import machine, operators, stack
from .child import Child, Outcome

LIMIT_S = 30.0
LIBRARIES = ("numpy", "scipy", "laspy", "lazrs", "python-neo-lzf", "pye57", "apiflask", "gunicorn")
OPTIONAL = {"pye57": "pip install 'pointserve[e57]'"}

Entry = dict[str, Any]


def report(limit_s: float = LIMIT_S) -> Entry:
    """Everything about this installation, JSON-able.

    Whatever may crash (torch, operators, the optional stack) is tried in a child process, all at once, each for at most
    ``limit_s`` seconds. ``ok`` says whether all that serving needs is there; ``problems`` lists part, problem and
    remedy of everything that is not as it should be, ``required`` where serving needs it.
    """
    deadline_s = time.monotonic() + limit_s
    present = [name for name in operators.CHECKS if importlib.util.find_spec(name)]
    with ExitStack() as children:

        def start(*arguments: str) -> Child:
            return children.enter_context(Child(list(arguments)))

        compute = start("-m", "app.diagnostics.compute")
        checks = {name: start("-m", "app.diagnostics.operators", name) for name in present}
        probes = {name: start(*stack.probe_arguments(library)) for name, library in stack.STACK.items()}
        about_torch = _compute_entry(compute.outcome(deadline_s))
        facts: Entry = {
            "pointserve": _version("pointserve"),
            "python": {"version": platform.python_version(), "executable": sys.executable},
            "platform": platform.platform(),
            "cpu": machine.cpu(),
            "memory": machine.memory(),
            "libraries": [_library_entry(name) for name in LIBRARIES],
            "torch": about_torch["torch"],
            "driver": machine.driver(),
            "devices": about_torch["devices"],
            "operators": [
                _operators_entry(name, checks[name].outcome(deadline_s) if name in checks else None)
                for name in operators.CHECKS
            ],
            "stack": [stack.entry(name, probe.outcome(deadline_s)) for name, probe in probes.items()],
        }
    _compare_driver(facts)
    problems = _problems(facts)
    return {"ok": not any(problem["required"] for problem in problems), "problems": problems, **facts}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library_entry(name: str) -> Entry:
    version = _version(name)
    if version:
        return {"name": name, "state": "ok", "version": version}
    return {"name": name, "state": "absent", "remedy": f"Run `{OPTIONAL.get(name, f'pip install {name}')}`."}


def _compute_entry(outcome: Outcome) -> Entry:
    if outcome.value:
        return outcome.value
    remedy = "Reinstall torch, for a machine without a GPU from https://download.pytorch.org/whl/cpu."
    return {"torch": {"state": "broken", "reason": f"its import {outcome.reason}", "remedy": remedy}, "devices": []}


def _operators_entry(name: str, outcome: Outcome | None) -> Entry:
    if outcome is None:
        return {"name": name, "state": "absent", "remedy": f"In a checkout of pointserve, run {_install(name)}."}
    remedy = f"Install {name} again, after torch: in a checkout of pointserve, run {_install(name)}."
    if outcome.reason:
        return {"name": name, "state": "broken", "reason": f"its check {outcome.reason}", "remedy": remedy}
    entry = outcome.value
    wrong = [check for check in entry["checks"] if not check["ok"]]
    if wrong:
        reason = "; ".join(f"{check['operator']} on {check['device']}: {_miss(check)}" for check in wrong)
        if "no kernel image" in reason:
            remedy = (
                f"It is compiled for {', '.join(entry['architectures'])}: set TORCH_CUDA_ARCH_LIST to the compute "
                f"capability of the device, such as 9.0; then, in a checkout of pointserve, run {_install(name)}."
            )
        return {**entry, "state": "broken", "reason": reason, "remedy": remedy}
    return entry | _slowness(entry)


def _install(name: str) -> str:
    return f"`pip install --no-build-isolation --no-deps --force-reinstall ./libs/{name}`"


def _slowness(entry: Entry) -> Entry:
    """State, reason and remedy of operators that run their reference on a device; empty where none does."""
    on_gpu = any(check["device"] != "cpu" for check in entry["checks"])
    if not entry["architectures"]:
        what, compiler = "was not built or does not load", "a C++ compiler (g++ or clang++)"
    elif on_gpu and entry["architectures"] == ["cpu"]:
        what, compiler = "was built for processors only", "the CUDA toolkit (nvcc) of torch's version"
    else:
        return {}
    return {
        "state": "reference",
        "reason": f"slow: its compiled extension {what}, so the reference in plain torch runs instead",
        "remedy": f"Install {compiler}; then, in a checkout of pointserve, run {_install(entry['name'])}.",
    }


def _miss(check: Entry) -> str:
    return check.get("reason") or f"off by {check['max_abs_error']:.3g}, allowed is {operators.TOLERANCE:g}"


def _compare_driver(facts: Entry) -> None:
    """Note on torch's entry where the driver sees GPUs that torch does not."""
    about_torch, driver = facts["torch"], facts["driver"]
    if about_torch["state"] != "ok" or not driver["gpus"] or facts["devices"]:
        return
    about_torch["reason"] = f"the driver sees {len(driver['gpus'])} GPU(s), torch none"
    about_torch["remedy"] = (
        "This torch is built for processors only; install one built for CUDA (https://pytorch.org/get-started)."
        if about_torch["cuda"] is None
        else f"torch is built for CUDA {about_torch['cuda']}, the driver serves up to {driver['cuda']}: "
        "install a matching torch or a newer driver, and look at CUDA_VISIBLE_DEVICES."
    )


def _problems(facts: Entry) -> list[Entry]:
    """Every entry that has a remedy and is either broken or needed."""
    found = []

    def look(part: str, entry: Entry, required: bool) -> None:
        if "remedy" in entry and (required or entry.get("state") != "absent"):
            problem = entry.get("reason") or "is not installed"
            found.append({"part": part, "problem": problem, "remedy": entry["remedy"], "required": required})

    look("torch", facts["torch"], facts["torch"]["state"] != "ok")
    look("driver", facts["driver"], False)
    for device in facts["devices"]:
        look(f"cuda:{device['index']}", device, True)
    for library in facts["libraries"]:
        look(library["name"], library, library["name"] not in OPTIONAL)
    for entry in facts["operators"]:
        look(entry["name"], entry, entry["state"] != "reference")
    for entry in facts["stack"]:
        look(entry["name"], entry, False)
    return found
