"""What is built if compilers do not do what is asked of them, and from a source distribution alone.

Sources of a few lines stand in for the operators.
"""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
    """A folder with the library's own set-up, sources for CPU and CUDA, and an nvcc that compiles nothing."""
    folder, own = tmp_path / request.param, ROOT / "libs" / request.param
    for name in (request.param, "csrc/operator", "bin"):
        (folder / name).mkdir(parents=True)
    for name in ("setup.py", "MANIFEST.in", f"{request.param}/extension.py", "csrc/common"):
        shutil.copy(own / name, folder / name, follow_symlinks=False)
    shutil.copytree(ROOT / "libs/common", tmp_path / "common", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").write_text((own / "pyproject.toml").read_text().replace(', "pointops._C"', ""))
    (folder / "pointgroup_ops_cuda.py").touch()
    (folder / request.param / "__init__.py").write_text("from .extension import ARCHITECTURES as ARCHITECTURES\n")
    (folder / "csrc/operator/operator.h").touch()
    (folder / "csrc/operator/operator_cpu.cpp").write_text('#include "operator/operator.h"\n')
    (folder / "csrc/operator/kernel.cu").write_text("__global__ void kernel() {}\n")
    (folder / "csrc/operator/bindings_cuda.cpp").write_text('#error "not for the CPU"\n')
    nvcc(folder, "of a version that it does not tell")
    return folder


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
    (library / "csrc/operator/operator_cpu.cpp").write_text('#error "no compiler understands this"\n')
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


def test_source_distribution_builds_alone(library, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_CUDA", "0")
    subprocess.run([sys.executable, "setup.py", "-q", "sdist"], cwd=library, check=True)
    (archive,) = library.glob("dist/*.tar.gz")
    with tarfile.open(archive) as packed:
        assert all(member.isfile() or member.isdir() for member in packed)
        packed.extractall(tmp_path / "unpacked", filter="data")
    (alone,) = (tmp_path / "unpacked").iterdir()
    (tmp_path / "common").rename(tmp_path / "elsewhere")
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=alone, check=True)
    program = f"import {library.name}; print({library.name}.ARCHITECTURES)"
    done = subprocess.run([sys.executable, "-c", program], cwd=alone, capture_output=True, text=True, check=True)
    assert done.stdout == "('cpu',)\n"


@pytest.mark.parametrize(("told", "linked"), [("libstdc++.so", True), ("/usr/lib/libstdc++.so", False)])
def test_libstdcxx_of_torch_is_linked_if_the_compiler_has_an_archive_only(tmp_path, monkeypatch, told, linked):
    (tmp_path / "c++").write_text(f"#!/bin/sh\necho {told}\n")
    (tmp_path / "c++").chmod(0o755)
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'libs/common')!r}); import building;"
        "print(*building.shared_libstdcxx())"
    )
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = re.fullmatch(r"-Wl,--no-as-needed (/\S+/libstdc\+\+\.so\S*) -Wl,--as-needed", done.stdout.strip())
    assert bool(found) == linked
    assert not linked or Path(found[1]).exists()
