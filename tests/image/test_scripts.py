"""The scripts as people call them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STACK = ROOT / "test_cuda124_stack.sh"
DOCKER = """
echo "$*" >> calls
if [ "$1" = buildx ] && [ -n "$BUILD_SAYS" ]; then echo "$BUILD_SAYS" >&2; exit 1; fi
case "$1 $2" in
    "info "*) echo '{"runc":{}}' ;;
    "image inspect") echo 1500000000 ;;
    "inspect --format") case "$3" in *Health*) echo healthy ;; *Running*) echo true ;; *ExitCode*) echo 0 ;; esac ;;
    "run --detach") echo 0123abcd ;;
    "run --rm") case "$*" in *" id -u") echo "${USER_OF_THE_IMAGE:-10001}" ;; esac ;;
esac
"""


@pytest.mark.parametrize("interpreter", [[sys.executable], ["bash"]], ids=["python", "bash"])
def test_stack_check_is_the_same_for_python_and_bash(interpreter, tmp_path):
    (tmp_path / "python").symlink_to(sys.executable)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    run = {"env": {"PATH": path, "HOME": str(tmp_path)}, "cwd": tmp_path, "capture_output": True, "text": True}
    done = subprocess.run([*interpreter, str(STACK), "--only", "libraries"], timeout=120, **run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok      libraries.load: built for cpu" in done.stdout
    assert "skipped libraries.machine_code: built without CUDA" in done.stdout
    assert done.stdout.endswith("all checks passed\n")

    done = subprocess.run([*interpreter, str(STACK), "--only", "environment"], timeout=120, **run)
    assert done.returncode == 1
    assert "FAILED  environment.variables: SPCONV_DISABLE_JIT is None, expected 1" in done.stdout
    assert done.stdout.endswith("failed: environment\n")

    assert subprocess.run([*interpreter, str(STACK), "--only", "nothing"], timeout=120, **run).returncode == 2


@pytest.fixture
def build(tmp_path):
    """build_and_test.sh with a docker that only notes what it was told."""
    path = tmp_path / "docker"
    path.write_text(f"#!/bin/bash\ncd {tmp_path}\n{DOCKER}")
    path.chmod(0o755)

    def run(*arguments, **environment):
        paths = {"PATH": f"{tmp_path}:/usr/bin:/bin", "REPORT": str(tmp_path / "report"), "HOME": str(tmp_path)}
        command = ["bash", str(ROOT / "build_and_test.sh"), *arguments]
        return subprocess.run(
            command, env=paths | environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    run.folder = tmp_path
    return run


def test_build_runs_every_test_and_reports(build):
    done = build("--build-arg", "MAX_JOBS=2")
    assert done.returncode == 0, done.stdout + done.stderr
    report = (build.folder / "report").read_text()
    assert report.startswith("ml-service:conda-cuda124 from Dockerfile.gpu")
    assert [line.split("  ")[-1].partition(" (")[0] for line in report.splitlines() if line.startswith("ok")] == [
        "build",
        "stack",
        "diagnose",
        "not root",
        "read-only root",
        "serve and predict",
        "stop",
    ]
    assert "skipped computations on a GPU" in report
    assert report.endswith("all tests passed\n")
    calls = (build.folder / "calls").read_text()
    assert "buildx build --load --file Dockerfile.gpu --tag ml-service:conda-cuda124" in calls
    assert "--build-arg MAX_JOBS=2" in calls
    assert "rm --force 0123abcd" in calls


def test_a_failure_is_reported_and_is_the_exit_code(build):
    done = build("--no-build", "--cpu", USER_OF_THE_IMAGE="0")
    assert done.returncode == 1
    assert "FAILED  not root" in done.stdout
    assert done.stdout.endswith(f"1 failed; details in {build.folder / 'report'}\n")
    assert "buildx" not in (build.folder / "calls").read_text()


def test_a_build_that_fails_is_explained(build):
    done = build(BUILD_SAYS="nvcc error : 'cicc' died due to signal 9 (Kill signal)")
    assert done.returncode == 1
    report = (build.folder / "report").read_text()
    assert "FAILED  build\nout of memory while building: nvcc error" in report
    assert "--build-arg MAX_JOBS=1" in report
    assert "image inspect" not in (build.folder / "calls").read_text()


def test_unknown_argument(build):
    assert build("--fast").returncode == 2
