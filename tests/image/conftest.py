"""A stand-in of the conda environment and of nvidia-smi, for running the entrypoint outside of the image."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "pointcept-torch2.5.0-cu12.4"
CONDA = """
conda() {
    [ "$1" = activate ] && [ "$2" = "%s" ] || { echo "EnvironmentNameNotFound: $2" >&2; return 1; }
    : "$VARIABLE_THAT_NOBODY_SET"
    export CONDA_PREFIX="%s" CONDA_DEFAULT_ENV="$2" PATH="%s:$PATH"
}
"""


class Image:
    """A folder laid out as the image is, and commands run through its entrypoint."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.commands = folder / "commands"
        for part in ("conda/etc/profile.d", "commands", "models", "cache", "libs", "jobs"):
            (folder / part).mkdir(parents=True)
        prefix = Path(sys.executable).parent
        (folder / "conda/etc/profile.d/conda.sh").write_text(CONDA % (ENVIRONMENT, prefix.parent, prefix))
        self.environment = {
            "PATH": f"{self.commands}:/usr/bin:/bin",
            "HOME": str(folder),
            "CONDA_DEFAULT_ENV": ENVIRONMENT,
            "CONDA_ROOT": str(folder / "conda"),
            "APP_ROOT": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "MODELS_FOLDER": str(folder / "models"),
            "JOBS_FOLDER": str(folder / "jobs"),
            "OMP_NUM_THREADS": "1",
            "FORCE_CUDA": "1",
        }

    def command(self, name: str, text: str) -> None:
        """Put a shell script called ``name`` before all others, also those of the environment."""
        path = self.commands / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def nvidia_smi(self, driver: str, capabilities: str = "8.9") -> None:
        """A driver of this version and GPUs of these capabilities."""
        self.command("nvidia-smi", f'case $1 in *driver_version*) echo "{driver}" ;; *) echo "{capabilities}" ;; esac')

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """The entrypoint with ``arguments``."""
        return subprocess.Popen(
            ["bash", str(ROOT / "entrypoint.sh"), *arguments],
            env={**self.environment, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """What the entrypoint with ``arguments`` did."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture
def image(tmp_path) -> Image:
    return Image(tmp_path)


@pytest.fixture
def served(image) -> Image:
    """An image in which ``pointserve`` only says how it was called, and by what process."""
    image.command(
        "pointserve", 'echo "pointserve $* pid=$$ models=$POINTSERVE_MODELS jobs=$POINTSERVE_JOBS_DIR path=$PYTHONPATH"'
    )
    environment = image.folder / "environment"
    environment.mkdir()
    (image.commands / "pointserve").rename(environment / "pointserve")
    path = f"{environment}:{image.commands}:{Path(sys.executable).parent}"
    (image.folder / "conda/etc/profile.d/conda.sh").write_text(CONDA % (ENVIRONMENT, environment, path))
    return image
