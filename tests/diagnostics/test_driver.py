"""What the report says of NVIDIA's driver; its management library is a made one, loaded as the real one is."""

import json
import os
import subprocess
import sys

import pytest

from app.diagnostics.driver import age, broken

LIBRARY = r"""
#include <stdlib.h>
#include <string.h>
static int code() { const char* text = getenv("FAKE_NVML_INIT"); return text ? atoi(text) : 0; }
int nvmlInitWithFlags(unsigned flags) { return code(); }
int nvmlInit_v2(void) { return code(); }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char* text, unsigned length) {
    strncpy(text, getenv("FAKE_NVML_VERSION"), length);
    return 0;
}
int nvmlSystemGetCudaDriverVersion(int* version) { *version = 11040; return 0; }
int nvmlDeviceGetCount_v2(unsigned* count) { *count = 0; return 0; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(LIBRARY)
    command = ["cc", "-shared", "-fPIC", "-o", "libnvidia-ml.so.1", "nvml.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder


def ask(library, **variables):
    """The entry of the driver, from a process that finds ``library``."""
    code = "import json; from app.diagnostics.driver import driver; print(json.dumps(driver()))"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library), **variables}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_driver_that_answers(library):
    entry = ask(library, FAKE_NVML_VERSION="470.256.02")
    assert entry == {"state": "ok", "version": "470.256.02", "cuda": "11.4", "gpus": []}


@pytest.mark.parametrize(
    ("code", "fault", "remedy"),
    [
        ("999", "NVML gone", "daemon-reload"),
        ("4", "NVML gone", "start it again"),
        ("18", "driver updated under a running kernel", "Reboot"),
        ("9", None, "load the kernel module"),
    ],
)
def test_a_driver_that_does_not_start(library, code, fault, remedy):
    entry = ask(library, FAKE_NVML_INIT=code)
    assert entry["state"] == "broken"
    assert entry["reason"].startswith("Failed to initialize NVML: ")
    assert entry.get("fault") == fault
    assert remedy in entry["remedy"]


def test_the_message_of_nvidia_smi_is_known_too():
    assert broken("Failed to initialize NVML: Driver/library version mismatch")["remedy"].startswith("Reboot the host")


@pytest.mark.parametrize(
    ("version", "cuda", "old"),
    [
        ("470.256.02", "12.4", True),
        ("525.60.12", "12.4", True),
        ("525.60.13", "12.4", False),
        ("525.105.17", "12.4", False),
        ("550.54.15", "12.4", False),
        ("550.54.15", "13.0", True),
        ("470.256.02", "11.8", False),
    ],
)
def test_the_oldest_driver_of_a_cuda(version, cuda, old):
    entry = age(version, cuda)
    assert bool(entry) == old
    if old:
        assert entry["fault"] == "driver too old"
        assert f"driver {version} is too old for CUDA {cuda}" in entry["reason"]


def test_the_whole_report_knows_a_lost_driver_where_a_gpu_is_wanted(library):
    variables = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_INIT": "999", "POINTSERVE_DEVICE": "cuda"}
    command = [sys.executable, "-m", "app.diagnostics", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables}, timeout=120)
    (problem,) = [problem for problem in json.loads(done.stdout)["problems"] if problem["part"] == "driver"]
    assert (done.returncode, problem["required"], problem["fault"]) == (1, True, "NVML gone")
