"""What is installed where the compilers do not do what is asked of them; sources of a few lines stand in for csrc."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = """
#include <Python.h>
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "compiled", nullptr, -1, nullptr};
extern "C" PyObject* %s() { return PyModule_Create(&module); }
"""
# torch as it comes for CUDA, beside a compiler that cannot serve it
WITH_CUDA = """
import runpy, sys
import torch
from torch.utils import cpp_extension
torch.version.cuda = "12.4"
cpp_extension.CUDA_HOME = sys.argv.pop(1)
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.fixture(params=["sparseops", "pointops", "pointgroup_ops"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the library's setup.py, sources for CPU and CUDA, and an nvcc that compiles nothing."""
    setup = (ROOT / "libs" / request.param / "setup.py").read_text()
    (tmp_path / "setup.py").write_text(setup)
    name = "_compiled" if request.param == "pointops" else "_C"
    for folder in (request.param, "csrc", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / request.param / "__init__.py").touch()
    (tmp_path / "csrc/module.cpp").write_text(MODULE % f"PyInit_{name}")
    (tmp_path / "csrc/kernel.cu").write_text("__global__ void kernel() {}\n")
    (tmp_path / "csrc/bindings_cuda.cpp").write_text('#error "not for the CPU"\n')
    nvcc(tmp_path, "of a version that it does not tell")
    return tmp_path


def nvcc(library: Path, told: str) -> None:
    """One that answers ``--version``, no more."""
    path = library / "bin/nvcc"
    path.write_text(f'#!/bin/sh\ntest "$1" = --version && echo {told}\n')
    path.chmod(0o755)


def build(library: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WITH_CUDA, str(library), "-q", "build_ext", "--inplace"]
    return subprocess.run(command, cwd=library, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("told", ["release 11.8, too old", "of a version that it does not tell"])
def test_cpu_is_compiled_for_where_cuda_cannot_be(library, monkeypatch, told):
    monkeypatch.delenv("FORCE_CUDA", raising=False)
    nvcc(library, told)
    done = build(library)
    assert done.returncode == 0, done.stderr
    assert "compiled for the CPU alone" in done.stderr
    assert [path.suffix for path in library.glob("*/_*.so")] == [".so"]


def test_package_goes_without_operators_where_nothing_can_be_compiled(library, monkeypatch):
    monkeypatch.delenv("FORCE_CUDA", raising=False)
    (library / "csrc/module.cpp").write_text('#error "no compiler understands this"\n')
    done = build(library)
    assert done.returncode == 0, done.stderr
    # torch's builds end in an exception with ninja, in a warning of setuptools' without
    assert "installed without its compiled operators" in done.stderr or "building extension" in done.stderr
    assert not list(library.glob("*/_*.so"))


def test_cuda_that_is_asked_for_is_not_given_up(library, monkeypatch):
    monkeypatch.setenv("FORCE_CUDA", "1")
    done = build(library)
    assert done.returncode != 0
    assert "compiled for the CPU" not in done.stderr
    assert not list(library.glob("*/_*.so"))
