"""What it takes to compile the libraries of operators: compilers, CUDA toolkit, architectures, memory."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import faults
from .attempt import Entry
from .compute import is_supported

JOB_BYTES = 2 * 10**9
NEWEST_GCC = {"12.4": 13}  # of nvcc
ASK_S = 10.0


def building(variables: Mapping[str, str], usable_cores: int, memory: Entry) -> Entry:
    """What a build would use: compiler, nvcc, CUDA_HOME, architectures asked for, jobs at once, bytes for them."""
    home = variables.get("CUDA_HOME") or variables.get("CUDA_PATH") or None
    nvcc = str(Path(home) / "bin/nvcc") if home else shutil.which("nvcc")
    bounds = [value for value in (memory["limit_bytes"], memory["available_bytes"]) if value]
    return {
        "compiler": _version(variables.get("CXX", "g++"), "-dumpfullversion", r"([\d.]+)"),
        "nvcc": _version(nvcc, "--version", r"release ([\d.]+)") if nvcc else None,
        "cuda_home": home,
        "architectures": re.findall(r"\d+\.\d+a?(?:\+PTX)?", variables.get("TORCH_CUDA_ARCH_LIST", "")),
        "jobs": _jobs(variables.get("MAX_JOBS", ""), usable_cores),
        "memory_bytes": min(bounds) if bounds else memory["total_bytes"],
    }


def hindrance(build: Entry, cuda: str | None, capabilities: list[str]) -> Entry:
    """Reason, fault and remedy of the first thing that keeps libraries from compiling; empty if nothing does.

    Args:
        build: as ``building`` says.
        cuda: of torch, as 12.4; None for a torch for processors, or without a GPU.
        capabilities: of the GPUs, as 8.9.
    """
    for reason in (_compilers(build, cuda), _architectures(build, capabilities)):
        if reason:
            return {"reason": reason, "fault": faults.BUILD.name, "remedy": faults.BUILD.remedy}
    if build["jobs"] * JOB_BYTES > build["memory_bytes"]:
        reason = f"{build['jobs']} compilers at once take up to {build['jobs'] * JOB_BYTES / 1e9:.0f} GB, "
        reason += f"{build['memory_bytes'] / 1e9:.1f} GB are there"
        fits = max(1, build["memory_bytes"] // JOB_BYTES)
        remedy = faults.BUILD_MEMORY.remedy.replace("MAX_JOBS=1", f"MAX_JOBS={fits}")
        return {"reason": reason, "fault": faults.BUILD_MEMORY.name, "remedy": remedy}
    return {}


def _compilers(build: Entry, cuda: str | None) -> str:
    if build["compiler"] is None:
        return "there is no C++ compiler (g++)"
    if cuda is None:
        return ""
    if build["nvcc"] is None:
        where = f"CUDA_HOME is {build['cuda_home']}" if build["cuda_home"] else "CUDA_HOME is not set"
        return f"there is no nvcc, {where}; torch's CUDA is {cuda}"
    if build["nvcc"].partition(".")[0] != cuda.partition(".")[0]:
        return f"nvcc is of CUDA {build['nvcc']}, torch's CUDA is {cuda}"
    newest = NEWEST_GCC.get(build["nvcc"])
    if newest and int(build["compiler"].partition(".")[0]) > newest:
        return f"gcc is {build['compiler']}, nvcc {build['nvcc']} takes it up to {newest}"
    return ""


def _architectures(build: Entry, capabilities: list[str]) -> str:
    asked = [name for entry in build["architectures"] for name in _code(entry)]
    lacking = [one for one in capabilities if asked and not is_supported(_numbers(one), asked)]
    listed = ";".join(build["architectures"])
    return f"TORCH_CUDA_ARCH_LIST is {listed}, none of it for the GPU's {', '.join(lacking)}" if lacking else ""


def _code(entry: str) -> list[str]:
    """The kinds of code that an entry of TORCH_CUDA_ARCH_LIST asks for: sm_90 and compute_90 for 9.0+PTX."""
    number = entry.removesuffix("+PTX").replace(".", "")
    return [f"sm_{number}", *([f"compute_{number}"] if entry.endswith("+PTX") else [])]


def _numbers(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    return int(major), int(minor)


def _jobs(asked: str, usable_cores: int) -> int:
    """As torch compiles: MAX_JOBS, else as many as ninja likes, or one without ninja."""
    if asked.isdigit() and int(asked):
        return int(asked)
    has_ninja = shutil.which("ninja") or importlib.util.find_spec("ninja")
    return usable_cores + 2 if has_ninja else 1


def _version(program: str, argument: str, pattern: str) -> str | None:
    """What ``program`` says of itself; None if it does not run."""
    try:
        done = subprocess.run(
            [program, argument], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, done.stdout)
    return found[1] if found else None
