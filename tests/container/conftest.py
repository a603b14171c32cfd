"""A container engine and base images for the tests of this folder; make container-test runs them.

CONTAINER_STANDINS names a folder with scripts that make stand-ins of base images where none can be pulled (standin.sh,
cuda124.sh, cucheck.sh, base-gpu/); then the GPU image is rehearsed on them too.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CPU_BASE = "python:3.11-slim-bookworm"
CPU_IMAGE = "ml-service:cpu"
CUDA_BASE = "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04"
RUNTIME_BASE = "standin/debian:gpu"
STANDINS = os.environ.get("CONTAINER_STANDINS")
PYTHON_PACKAGES = "python3,python3-venv,python3-pip,python3-dev,ca-certificates"


def run(*command: str, **options) -> subprocess.CompletedProcess:
    """What ``command`` did; its output is text. Fails the test with all of it where the command does."""
    done = subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done


def has_image(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True).returncode == 0


def build_options() -> list[str]:
    """Options of docker build on this machine: with stand-ins there is no bridge, and torch comes from pip's folder."""
    jobs = ["--build-arg", f"MAX_JOBS={os.environ.get('MAX_JOBS', os.cpu_count())}"]
    if not STANDINS:
        return jobs
    found = run(sys.executable, "-m", "pip", "config", "get", "global.find-links").stdout.split()
    return [*jobs, "--network", "host", "--build-context", f"wheels={found[0]}", "--build-arg", "TORCH_INDEX="]


@pytest.fixture(scope="session", autouse=True)
def engine():
    """A running engine; without one these tests are not run but fail."""
    run("docker", "info")


@pytest.fixture(scope="session")
def cpu_image() -> str:
    """The CPU image, built from this tree."""
    if STANDINS and not has_image(CPU_BASE):
        run(f"{STANDINS}/standin.sh", CPU_BASE, PYTHON_PACKAGES)
    run("docker", "buildx", "build", "--load", *build_options(), "--tag", CPU_IMAGE, str(ROOT))
    return CPU_IMAGE


@pytest.fixture(scope="session")
def cuda124(tmp_path_factory) -> Path:
    """CUDA 12.4's compiler with torch 2.5.0's headers."""
    if not STANDINS:
        pytest.skip("needs CONTAINER_STANDINS")
    folder = Path(os.environ.get("CUDA124") or tmp_path_factory.mktemp("cuda") / "cuda124")
    if not (folder / "bin" / "nvcc").exists():
        run(f"{STANDINS}/cuda124.sh", str(folder), env=os.environ | {"W": str(folder.parent / "downloads")})
    return folder


@pytest.fixture(scope="session")
def gpu_bases(cpu_image, cuda124, tmp_path_factory) -> dict[str, str]:
    """Stand-ins of the GPU image's bases, and what has to be said to build on them: build arguments by name.

    The conda environment is Debian's Python with what the CPU image has installed; Pointcept is an empty package.
    """
    if not has_image(RUNTIME_BASE):
        run(f"{STANDINS}/standin.sh", RUNTIME_BASE, f"{PYTHON_PACKAGES},python3-yaml,g++")
    context = tmp_path_factory.mktemp("base-gpu")
    shutil.copytree(f"{STANDINS}/base-gpu", context, dirs_exist_ok=True)
    shutil.copytree(cuda124, context / "cuda", symlinks=True, ignore=shutil.ignore_patterns("torch-*"))
    run("docker", "buildx", "build", "--load", "--tag", "standin/cuda:12.4.1", str(context))

    context = tmp_path_factory.mktemp("base-environment")
    checkout = context / "pointcept"
    for name in ("pointcept/__init__.py", "tools/__init__.py", "configs/__init__.py", "LICENSE"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    git = ("git", "-C", str(checkout), "-c", "user.name=test", "-c", "user.email=test@localhost")
    run(*git, "init", "--quiet")
    run(*git, "add", ".")
    run(*git, "commit", "--quiet", "--message", "Pointcept")
    packages = f"COPY --from={cpu_image} /opt/venv/lib/python3.11/site-packages /usr/local/lib/python3.11/dist-packages"
    # its environment without a setuptools of its own: Debian's is too old for pyproject.toml
    installer = context / "miniforge.sh"
    text = Path(STANDINS, "base-gpu", "miniforge.sh").read_text()
    installer.write_text(text.replace('"--system-site-packages"', '"--system-site-packages", "--without-pip"'))
    copies = "COPY pointcept /opt/standin/pointcept\nCOPY miniforge.sh /opt/standin/miniforge.sh"
    (context / "Dockerfile").write_text(f"FROM standin/cuda:12.4.1\n{packages}\n{copies}\n")
    run("docker", "buildx", "build", "--load", "--tag", CUDA_BASE, str(context))
    (context / "Dockerfile").write_text(f"FROM {RUNTIME_BASE}\n{packages}\n")
    run("docker", "buildx", "build", "--load", "--tag", "standin/runtime:gpu", str(context))
    return {
        "RUNTIME_IMAGE": "standin/runtime:gpu",
        "MINIFORGE_URL": "file:///opt/standin/miniforge.sh",
        "MINIFORGE_SHA256": run("sha256sum", str(installer)).stdout.split()[0],
        "POINTCEPT_URL": "file:///opt/standin/pointcept",
        "POINTCEPT_COMMIT": run(*git, "rev-parse", "HEAD").stdout.strip(),
        "FORCE_CUDA": "0",  # the stand-in's torch is for processors
        "STACK_CHECK": "--only service",
    }
