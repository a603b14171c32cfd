"""The report of ``pointserve diagnose`` and of GET /diagnostics."""

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from app.operators import LIBRARIES as COMPILED
from app.processes import Task

from . import building, libraries, machine, stack
from .attempt import Attempt, Entry, attempt
from .driver import age, driver
from .environment import environment
from .problems import problems

LIMIT_S = 30.0
DEEP_LIMIT_S = 120.0
LIBRARIES = ("numpy", "scipy", "laspy", "lazrs", "python-neo-lzf", "pye57", "apiflask", "gunicorn")
OPTIONAL = {"pye57"}


def report(limit_s: float = LIMIT_S, deep: bool = False, settings: Mapping[str, Any] | None = None) -> Entry:
    """Everything about this installation, JSON-able.

    ``settings`` are those of models, by name, None if the environment says them.

    Whatever may crash (torch, operators, the optional stack) is tried in a child process, all at once, each for at most
    ``limit_s`` seconds. ``ok`` says whether all that serving needs is there; ``problems`` lists part, problem, remedy
    and fault (its name in ``faults``, or None) of everything that is not as it should be, ``required`` if serving
    needs it. With ``deep`` every operator and the bundled model are run too, and timed, one child after the other, for
    at most ``DEEP_LIMIT_S`` seconds together.
    """
    device = settings["device"] if settings else os.environ.get("POINTSERVE_DEVICE", "auto")
    deadline_s = time.monotonic() + limit_s
    present = [name for name in COMPILED if importlib.util.find_spec(name)]
    with ExitStack() as children:

        def start(*command: str) -> Task:
            return children.enter_context(_task(*command))

        compute = start("compute")
        checks = {name: start("operators", name) for name in present}
        probes = {name: start("probe", library.module) for name, library in stack.STACK.items()}
        about_torch = _compute_entry(attempt(compute, deadline_s))
        memory = machine.memory()
        facts: Entry = {
            "pointserve": _version("pointserve"),
            "python": {"version": platform.python_version(), "executable": sys.executable},
            "platform": platform.platform(),
            "environment": environment(os.environ, sys.prefix),
            "cpu": machine.cpu(),
            "memory": memory,
            "libraries": [_library_entry(name) for name in LIBRARIES],
            "torch": about_torch["torch"],
            "driver": driver(),
            "devices": about_torch["devices"],
            "build": building.building(os.environ, machine.usable_cores(), memory),
        }
        _compare_driver(facts)
        hindrance = _hindrance(facts)
        facts["operators"] = [
            libraries.entry(name, attempt(checks[name], deadline_s) if name in checks else None, hindrance)
            for name in COMPILED
        ]
        facts["stack"] = [stack.entry(name, attempt(probe, deadline_s)) for name, probe in probes.items()]
    if deep:
        facts |= _deep(present, settings)
    found = problems(facts, OPTIONAL, device)
    return {"ok": not any(problem["required"] for problem in found), "problems": found, **facts}


def _deep(present: list[str], settings: Mapping[str, Any] | None = None) -> Entry:
    """``timings``, an entry a library, and ``forward``, one a device."""
    deadline_s = time.monotonic() + DEEP_LIMIT_S

    def run(*command: str, stdin: bytes = b"") -> Attempt:
        with _task(*command, stdin=stdin) as task:
            return attempt(task, deadline_s)

    timings = [libraries.timed(name, run("timings", name)) for name in present]
    passed = run("forward", stdin=json.dumps(dict(settings)).encode() if settings else b"")
    failed = [{"device": "all", "ok": False, "reason": f"classifying a tile {passed.reason}"}]
    return {"timings": timings, "forward": passed.value or failed}


def _task(module: str, *arguments: str, stdin: bytes = b"") -> Task:
    return Task(f"app.diagnostics.{module}", arguments, stdin=stdin)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library_entry(name: str) -> Entry:
    version = _version(name)
    if version:
        return {"name": name, "state": "ok", "version": version}
    return {"name": name, "state": "absent", "remedy": f"Run `{sys.executable} -m pip install {name}`."}


def _compute_entry(attempt: Attempt) -> Entry:
    if attempt.value:
        return attempt.value
    remedy = "Reinstall torch, for a machine without a GPU from https://download.pytorch.org/whl/cpu."
    return {"torch": {"state": "broken", "reason": f"its import {attempt.reason}", "remedy": remedy}, "devices": []}


def _hindrance(facts: Entry) -> Entry:
    """What keeps libraries from compiling for the GPUs that torch could use."""
    capabilities = [device["compute_capability"] for device in facts["devices"]]
    cuda = facts["torch"].get("cuda") if capabilities else None
    return building.hindrance(facts["build"], cuda, capabilities)


def _compare_driver(facts: Entry) -> None:
    """Note an old driver in its entry, and in that of torch that it sees none of the driver's GPUs."""
    about_torch, about_driver = facts["torch"], facts["driver"]
    if about_torch["state"] != "ok":
        return
    if about_driver["state"] == "ok" and about_torch["cuda"]:
        about_driver |= age(about_driver["version"], about_torch["cuda"])
    if not about_driver["gpus"] or facts["devices"] or about_driver["state"] != "ok":
        return
    about_torch["reason"] = f"the driver sees {len(about_driver['gpus'])} GPU(s), torch none"
    about_torch["remedy"] = (
        "This torch is built for processors only; install one built for CUDA (https://pytorch.org/get-started)."
        if about_torch["cuda"] is None
        else f"torch is built for CUDA {about_torch['cuda']}, the driver serves up to {about_driver['cuda']}: "
        "install a matching torch or a newer driver, and look at CUDA_VISIBLE_DEVICES."
    )
