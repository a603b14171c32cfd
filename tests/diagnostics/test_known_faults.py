"""Every row of the troubleshooting table is recognised, in messages that were really caused where they can be."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.diagnostics.building import building, hindrance
from app.diagnostics.environment import environment
from app.diagnostics.faults import FAULTS, explain, recognise

ROOT = Path(__file__).parents[2]
MEMORY = {"total_bytes": 64 * 10**9, "available_bytes": 32 * 10**9, "limit_bytes": None}
BUILD = {
    "compiler": "13.2.0",
    "nvcc": "12.4",
    "cuda_home": "/usr/local/cuda",
    "architectures": ["7.5", "8.6", "9.0+PTX"],
    "jobs": 4,
    "memory_bytes": 32 * 10**9,
}


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("nvcc error : 'cicc' died due to signal 9 (Kill signal)", "out of memory while building"),
        ('ERROR: process "/bin/bash -c …" did not complete: exit code: 137', "out of memory while building"),
        ("OSError: CUDA_HOME environment variable is not set.", "extension does not compile"),
        ("#error -- unsupported GNU version! gcc versions later than 13", "extension does not compile"),
        ("nvcc fatal : Unsupported gpu architecture 'compute_120'", "extension does not compile"),
        ("ModuleNotFoundError: No module named 'pointgroup_ops_cuda'", "extension missing"),
        ("ModuleNotFoundError: No module named 'pointops._compiled'", "extension missing"),
        ("libmkl: undefined symbol: iJIT_NotifyEvent", "MKL too new"),
        ("_C.so: undefined symbol: _ZN2at4_ops5zeros4callE", "extension of another torch"),
        ("CUDA error: no kernel image is available for execution", "architecture not compiled for this card"),
        ("The NVIDIA driver on your system is too old (found version 11040)", "driver too old"),
        ("entrypoint: CUDA runtime mismatch: driver 470.1 is too old", "driver too old"),
        ("Failed to initialize NVML: Unknown Error", "NVML gone"),
        ("Failed to initialize NVML: Driver/library version mismatch", "driver updated under a running kernel"),
        ('could not select device driver "nvidia" with capabilities: [[gpu]]', "container toolkit missing"),
    ],
)
def test_messages(message, name):
    assert recognise(message).name == name


def test_what_is_no_fault():
    assert recognise("ModuleNotFoundError: No module named 'something_else'") is None
    assert recognise("all checks passed") is None


def test_the_table_of_the_docs_has_every_fault():
    text = (ROOT / "docs/image.md").read_text()
    table = text.partition("## Troubleshooting")[2].partition("\n## ")[0]
    for fault in FAULTS:
        assert f"| {fault.name} |" in table


def test_a_compiler_that_is_killed(tmp_path, capsys):
    """As the kernel does it where memory ends: the compiler proper dies under its driver."""
    driver = subprocess.Popen(
        ["g++", "-x", "c++", "-c", "-", "-o", str(tmp_path / "x.o")], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
    deadline_s = time.monotonic() + 20
    while not (found := children.read_text().split()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.kill(int(found[0]), signal.SIGKILL)
    (tmp_path / "log").write_bytes(driver.communicate()[1])
    assert explain(str(tmp_path / "log")) == 1
    assert "out of memory while building" in capsys.readouterr().out


def test_a_compiler_without_memory(tmp_path, capsys):
    (tmp_path / "x.cpp").write_text("#include <regex>\n#include <map>\nstd::map<int, std::regex> x;\n")
    limit = (80 << 20, 80 << 20)  # enough to load the compiler, too little to compile
    done = subprocess.run(
        ["g++", "-O2", "-c", "x.cpp"],
        cwd=tmp_path,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
    )
    assert done.returncode
    (tmp_path / "log").write_bytes(done.stderr)
    assert explain(str(tmp_path / "log")) == 1, done.stderr
    assert "MAX_JOBS" in capsys.readouterr().out


def test_a_log_without_faults(tmp_path):
    (tmp_path / "log").write_text("all went well\n")
    command = [sys.executable, "-m", "app.diagnostics", "--log", str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "No fault that is known here shows in it.\n")


def test_a_log_that_is_not_there(tmp_path):
    command = [sys.executable, "-m", "app.diagnostics", "--log", str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "the log cannot be read: [Errno 2] No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_of_another_environment(tmp_path):
    """A Python without packages, as one that was not activated: all that is missing has the same cause."""
    bare = tmp_path / "base"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    variables = {"PATH": os.environ["PATH"], "CONDA_DEFAULT_ENV": "pointcept-torch2.5.0-cu12.4"}
    command = [bare / "bin/python", "-m", "app.diagnostics", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    problems = {problem["part"]: problem for problem in json.loads(done.stdout)["problems"]}
    for part in ("environment", "numpy", "apiflask"):
        assert problems[part]["fault"] == "environment not activated"
        assert "conda activate pointcept-torch2.5.0-cu12.4" in problems[part]["remedy"]
    assert problems["sparseops"]["fault"] == "extension missing"
    assert not problems["torch"]["problem"].startswith("is not")


@pytest.mark.parametrize(
    ("variables", "prefix", "state"),
    [
        ({}, "/usr", "absent"),
        ({"CONDA_DEFAULT_ENV": "base", "CONDA_PREFIX": "/opt/conda"}, "/usr", "absent"),
        ({"CONDA_DEFAULT_ENV": "x", "CONDA_PREFIX": "/opt/conda/envs/x"}, "/opt/conda/envs/x", "ok"),
        ({"CONDA_DEFAULT_ENV": "x"}, "/opt/conda/envs/x", "ok"),
        ({"CONDA_DEFAULT_ENV": "x"}, "/opt/conda", "broken"),
        ({"CONDA_DEFAULT_ENV": "x", "CONDA_PREFIX": "/opt/conda/envs/x"}, "/usr", "broken"),
    ],
)
def test_environments(variables, prefix, state):
    assert environment(variables, prefix)["state"] == state


@pytest.mark.parametrize(
    ("change", "reason", "fault"),
    [
        ({"compiler": None}, "no C++ compiler", "extension does not compile"),
        ({"nvcc": None, "cuda_home": None}, "CUDA_HOME is not set", "extension does not compile"),
        ({"nvcc": "11.8"}, "nvcc is of CUDA 11.8", "extension does not compile"),
        ({"compiler": "14.1.0"}, "takes it up to 13", "extension does not compile"),
        ({"architectures": ["7.5", "9.0"]}, "none of it for the GPU's 8.9", "extension does not compile"),
        ({"jobs": 24}, "24 compilers at once take up to 48 GB", "out of memory while building"),
    ],
)
def test_what_keeps_libraries_from_compiling(change, reason, fault):
    assert hindrance(BUILD, "12.4", ["8.9", "12.0"]) == {}
    found = hindrance(BUILD | change, "12.4", ["8.9"])
    assert reason in found["reason"]
    assert found["fault"] == fault


def test_jobs_that_fit_are_named():
    assert "MAX_JOBS=3" in hindrance(BUILD | {"memory_bytes": 7 * 10**9}, None, [])["remedy"]


def test_a_build_here():
    found = building({**os.environ, "MAX_JOBS": "3", "TORCH_CUDA_ARCH_LIST": "8.6 9.0+PTX"}, 8, MEMORY)
    assert (found["jobs"], found["architectures"], found["memory_bytes"]) == (3, ["8.6", "9.0+PTX"], 32 * 10**9)
    assert found["compiler"].split(".")[0].isdigit()
    assert building({"CXX": "/no/such/compiler", "CUDA_HOME": "/no/such"}, 8, MEMORY)["nvcc"] is None
