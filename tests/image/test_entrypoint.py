import json
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.small_disk import small_disk

OLD_DRIVER, DRIVER_EXIT, COMPILE_EXIT = "525.60.12", 3, 4
LIBRARY = """
import os, sys
assert sys.argv[1:] == ["-q", "build_ext", "--inplace"], sys.argv
with open(os.environ["XDG_CACHE_HOME"] + "/calls", "a") as calls:
    print(os.environ["TORCH_CUDA_ARCH_LIST"], os.environ["FORCE_CUDA"], os.environ["CC"], file=calls)
sys.exit(os.path.exists("broken"))
"""


def test_any_command_runs_in_the_environment(image):
    done = image.run("python", "-c", "import os, sys; print(sys.prefix, os.environ['CONDA_DEFAULT_ENV'])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [sys.prefix, "pointcept-torch2.5.0-cu12.4"]
    assert done.stderr == ""  # no word about a driver where nothing is served


def test_without_conda_the_path_is_enough(image):
    """As in the CPU image."""
    image.command("pointserve", 'echo "$*"')
    done = image.run(CONDA_DEFAULT_ENV="", CONDA_ROOT="/nowhere", POINTSERVE_DEVICE="cpu")
    assert (done.returncode, done.stdout, done.stderr) == (0, "serve\n", "")


@pytest.mark.parametrize(("shell", "file", "taken"), [("a=1", "b=2", "a=1"), ("", "b=2", "b=2"), ("a=1", "", "a=1")])
def test_keys_of_the_shell_go_before_those_of_the_file_and_never_take_them_away(image, shell, file, taken):
    show = "import os; print(os.environ['POINTSERVE_API_KEYS'], 'SHELL_API_KEYS' in os.environ)"
    done = image.run("python", "-c", show, SHELL_API_KEYS=shell, POINTSERVE_API_KEYS=file)
    assert done.stdout.split() == [taken, "False"], done.stderr


def test_exit_code_and_words_of_a_command_are_kept(image):
    done = image.run("bash", "-c", 'printf "%s|" "$@"; exit 7', "-", "two words", "*")
    assert (done.returncode, done.stdout) == (7, "two words|*|")


def test_environment_that_is_missing_is_said(image):
    done = image.run("true", CONDA_DEFAULT_ENV="another")
    assert done.returncode != 0
    assert "EnvironmentNameNotFound: another" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["serve"], ["serve", "--port", "8080"]])
def test_serves_in_the_place_of_the_script(served, arguments):
    served.nvidia_smi("550.54.15")
    process = served.start(*arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith(" ".join(["pointserve", "serve", *arguments[1:]]) + f" pid={process.pid} ")
    assert err == ""


@pytest.mark.parametrize(
    ("driver", "code"),
    [
        ("525.60.13", 0),
        ("525.105.17", 0),
        ("570.9", 0),
        (OLD_DRIVER, 3),
        ("470.256.02", 3),
        ("99.99.99", 3),
    ],
)
def test_driver_is_compared_by_its_numbers(served, driver, code):
    served.nvidia_smi(driver)
    done = served.run("serve")
    assert done.returncode == code, done.stderr
    if code:
        assert f"driver {driver} is too old for CUDA 12.4, which needs 525.60.13 or newer" in done.stderr
        assert done.stdout == ""


def test_of_two_gpus_one_driver(served):
    served.nvidia_smi("550.54.15\n550.54.15")
    assert served.run("serve").returncode == 0


def test_old_driver_does_not_stop_the_processor_or_other_commands(served):
    served.nvidia_smi(OLD_DRIVER)
    assert served.run("serve", POINTSERVE_DEVICE="cpu").returncode == 0
    assert served.run("true").returncode == 0


@pytest.mark.parametrize(("device", "code"), [("auto", 0), ("cpu", 0), ("cuda", 3), ("cuda:0,cuda:1", 3)])
def test_without_a_driver_only_who_asked_for_a_gpu_is_refused(served, device, code):
    done = served.run("serve", POINTSERVE_DEVICE=device)
    assert done.returncode == code
    assert ("docker run --gpus all" in done.stderr) == (device != "cpu")


def test_devices_that_were_taken_away(served):
    served.command("nvidia-smi", 'echo "Failed to initialize NVML: Unknown Error"; exit 255')
    done = served.run("serve")
    assert done.returncode == DRIVER_EXIT
    assert "Failed to initialize NVML: Unknown Error" in done.stderr
    assert "systemctl daemon-reload" in done.stderr
    assert "cgroupfs" in done.stderr


def test_driver_without_gpus(served):
    served.command("nvidia-smi", 'echo "No devices were found"')
    done = served.run("serve")
    assert done.returncode == 0
    assert "NVIDIA_VISIBLE_DEVICES" in done.stderr


def test_mounted_models_are_served(served):
    served.nvidia_smi("550.54.15")
    assert "models= " in served.run("serve").stdout
    (served.folder / "models" / "scannet").mkdir()
    assert f"models={served.folder}/models " in served.run("serve").stdout
    assert "models=/mine " in served.run("serve", POINTSERVE_MODELS="/mine").stdout


def test_jobs_are_kept_on_a_volume_if_there_is_one(served):
    served.nvidia_smi("550.54.15")
    assert "jobs= " in served.run("serve").stdout
    with small_disk(served.folder / "jobs", 1):
        assert f"jobs={served.folder}/jobs " in served.run("serve").stdout
        assert "jobs=/mine " in served.run("serve", POINTSERVE_JOBS_DIR="/mine").stdout


@pytest.fixture
def libraries(served):
    """Two libraries whose set-up only notes that it ran, and a GPU."""
    served.nvidia_smi("550.54.15", "8.9\n7.5\n8.9")
    for name in ("pointops", "sparseops"):
        (served.folder / "libs" / name / name).mkdir(parents=True)
        (served.folder / "libs" / name / "setup.py").write_text(LIBRARY)
        (served.folder / "libs" / name / name / "_compiled.so").touch()
    return served


def calls(image):
    path = image.folder / "cache" / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_libraries_are_compiled_once_for_the_gpus_that_are_here(libraries):
    first = libraries.run("serve", INSTALL_POINTOPS_AT_RUNTIME="1", PYTHONPATH="/opt/pointcept")
    assert first.returncode == 0, first.stderr
    assert calls(libraries) == ["7.5;8.9 1 gcc"] * 2
    folders = re.search(r"path=(\S+)", first.stdout)[1].split(":")
    assert folders[-1] == "/opt/pointcept"
    assert [folder.rpartition("/")[2] for folder in folders[:-1]] == ["pointops", "sparseops"]
    assert all(folder.startswith(f"{libraries.folder}/cache/libraries-7.5_8.9-") for folder in folders[:-1])
    assert not list((libraries.folder / "cache").rglob("*.so"))  # those of the image were left behind
    assert len(list((libraries.folder / "libs").rglob("*.so"))) == 2

    again = libraries.run("serve", INSTALL_POINTOPS_AT_RUNTIME="1", PYTHONPATH="/opt/pointcept")
    assert re.search(r"path=(\S+)", again.stdout)[1].split(":") == folders
    assert len(calls(libraries)) == 2

    (libraries.folder / "libs/pointops/setup.py").write_text(LIBRARY + "# newer\n")
    libraries.run("true", INSTALL_POINTOPS_AT_RUNTIME="1")
    assert len(calls(libraries)) == 4


def test_libraries_that_do_not_compile(libraries):
    (libraries.folder / "libs/sparseops/broken").touch()
    for _ in range(2):  # what was left half done does not count
        done = libraries.run("serve", INSTALL_POINTOPS_AT_RUNTIME="1")
        assert done.returncode == COMPILE_EXIT
        assert "INSTALL_POINTOPS_AT_RUNTIME=0" in done.stderr
        assert done.stdout == ""
    assert len(calls(libraries)) == 4


def test_nothing_is_compiled_without_being_asked_or_without_a_gpu(libraries):
    assert libraries.run("serve").returncode == 0
    (libraries.commands / "nvidia-smi").unlink()
    done = libraries.run("serve", INSTALL_POINTOPS_AT_RUNTIME="1")
    assert done.returncode == 0
    assert "no GPU to compile them for" in done.stderr
    assert calls(libraries) == []


def test_sigterm_reaches_the_service(image):
    """The real service behind the entrypoint answers, and ends with code 0 when the script's process is told to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with image.start("serve", POINTSERVE_PORT=str(port), POINTSERVE_DEVICE="cpu") as process:
        try:
            assert wait_until_ready(process, port)["state"] == "ready"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, process.stderr.read()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
        finally:
            process.kill()


def wait_until_ready(process, port, limit_s=120):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        try:
            return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5))
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError("not ready in time")
