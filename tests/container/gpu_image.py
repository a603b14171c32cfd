"""The GPU image rehearsed on stand-ins of its bases: its steps, paths, variables, entrypoint and checks.

Not the conda environment, nor anything on a GPU; libraries are compiled for the processor here, and their CUDA sources
in cuda_sources.py.
"""

import json
import os
import re
import subprocess

import pytest
from conftest import ROOT, build_options, run

IMAGE = "ml-service:rehearsal"
ENVIRONMENT = "pointcept-torch2.5.0-cu12.4"


@pytest.fixture(scope="module")
def image(gpu_bases):
    arguments = [option for name, value in gpu_bases.items() for option in ("--build-arg", f"{name}={value}")]
    options = build_options()
    command = ["docker", "buildx", "build", "--load", *options[: options.index("--build-context")], *arguments]
    run(*command, "--file", str(ROOT / "Dockerfile.gpu"), "--tag", IMAGE, str(ROOT))
    return IMAGE


@pytest.fixture
def nvidia_smi(tmp_path):
    """Options that put an nvidia-smi with this answer into a container."""

    def options(answer: str, code: int = 0) -> list[str]:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\ncase $1 in *compute_cap*) echo 8.9 ;; *) echo '{answer}'; exit {code} ;; esac\n")
        path.chmod(0o755)
        return ["--volume", f"{path}:/usr/bin/nvidia-smi:ro"]

    return options


def container(*command, options=()):
    """What ``command`` did in a container of the image."""
    everything = ["docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", *options, IMAGE]
    return subprocess.run([*everything, *command], capture_output=True, text=True, timeout=600)


def test_commands_run_in_the_environment(image):
    done = container("python", "-c", "import os, sys; print(sys.prefix, os.environ['CONDA_DEFAULT_ENV'], os.getuid())")
    assert done.stdout.split() == [f"/opt/conda/envs/{ENVIRONMENT}", ENVIRONMENT, "10001"], done.stderr


def test_as_the_guide_calls_it(image):
    script = (
        f"source /opt/conda/etc/profile.d/conda.sh\nconda activate {ENVIRONMENT}\npython /app/test_cuda124_stack.sh"
    )
    done = container("/bin/bash", "-c", f"{script} --only service")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok      service.predict" in done.stdout
    assert done.stdout.endswith("all checks passed\n")


def test_what_is_not_there_is_found(image):
    """The stand-in has another Python, gcc and no spconv; CUDA's compiler is the real one."""
    done = container(
        "python", "/app/test_cuda124_stack.sh", "--only", "environment", "compilers", "spconv", "libraries"
    )
    assert done.returncode == 1
    lines = dict(re.findall(r"^(?:ok|FAILED|skipped) +([\w.]+): (.*)$", done.stdout, re.MULTILINE))
    assert lines["environment.variables"] == "CUDA_HOME /usr/local/cuda"
    assert lines["environment.activated"] == f"/opt/conda/envs/{ENVIRONMENT}"
    assert lines["compilers.nvcc"] == "nvcc 12.4"
    assert "expected 13.2" in lines["compilers.gcc"]
    assert "ModuleNotFoundError" in lines["spconv.imports"]
    assert "no machine code for sm_75, sm_80, sm_86, sm_89, sm_90" in lines["libraries.machine_code"]
    assert lines["libraries.compute"].endswith("checks on cpu")


def test_pointcept_and_the_list_of_versions_are_there(image):
    done = container("python", "-c", "import pointcept; print(pointcept.__file__)")
    assert done.stdout.strip() == "/opt/pointcept/pointcept/__init__.py"
    assert "torch==" in container("cat", "/opt/conda/environment.lock").stdout


def test_the_compiler_that_stays_compiles(image):
    source = "/app/libs/pointgroup_ops/csrc"
    nvcc = f"nvcc -std=c++17 -arch=sm_89 -I{source} -c {source}/ball_query/ball_query.cu -o x.o"
    command = f"cd /tmp && {nvcc} && cuobjdump --list-elf x.o"
    done = container("bash", "-c", command)
    assert "sm_89" in done.stdout, done.stderr


def test_old_driver(image, nvidia_smi):
    done = container(options=nvidia_smi("470.256.02"))
    assert done.returncode == 3
    assert "driver 470.256.02 is too old for CUDA 12.4" in done.stderr


def test_lost_devices(image, nvidia_smi):
    done = container(options=nvidia_smi("Failed to initialize NVML: Unknown Error", 255))
    assert done.returncode == 3
    assert "daemon-reload" in done.stderr


def test_libraries_compiled_again_for_the_gpu_that_is_here(image, nvidia_smi):
    """One of them, for the processor: the others are hidden by empty folders."""
    hidden = [option for name in ("sparseops", "pointops") for option in ("--tmpfs", f"/app/libs/{name}")]
    again = ["--env", "INSTALL_POINTOPS_AT_RUNTIME=1", "--env", "FORCE_CUDA=0", *nvidia_smi("550.54.15")]
    done = container(
        "python", "-c", "import pointgroup_ops as p; print(p._compiled.__file__)", options=[*hidden, *again]
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"/cache/libraries-8\.9-[0-9a-f]{12}/pointgroup_ops/pointgroup_ops/_compiled\.", done.stdout)
    assert "compiling the libraries for 8.9" in done.stderr


def test_serves_is_healthy_and_stops(image, tmp_path):
    """All of build_and_test.sh but the build; what the stand-in lacks is left out of the stack's check."""
    environment = {
        "IMAGE": IMAGE,
        "REPORT": str(tmp_path / "report"),
        "RUN_OPTIONS": "--network none",
        "STACK_CHECK": "--only service",
    }
    done = run(str(ROOT / "build_and_test.sh"), "--no-build", env=os.environ | environment)
    assert done.stdout.endswith("all tests passed\n")


def test_tini_is_the_first_process_and_the_service_its_child(image):
    script = "cat /proc/1/comm; ps -o pid,ppid,args 2>/dev/null || true; readlink /proc/self/exe; echo $PPID"
    done = container("bash", "-c", script)
    assert done.stdout.split("\n")[0] == "tini"
    assert done.stdout.split()[-1] == "1"


def test_configuration(image):
    config = json.loads(run("docker", "image", "inspect", "--format", "{{json .Config}}", image).stdout)
    assert config["User"] == "10001:10001"
    assert set(config["Volumes"]) == {"/models", "/cache", "/spool"}
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.base.name"]
    variables = dict(entry.split("=", 1) for entry in config["Env"])
    assert variables["TORCH_CUDA_ARCH_LIST"] == "7.5;8.0;8.6;8.9;9.0"
