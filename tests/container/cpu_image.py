"""The CPU image, built and run by compose as a user would."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import laspy
import numpy as np
import pytest
import yaml
from conftest import CPU_BASE, CPU_IMAGE, ROOT, STANDINS, run

FILE = ROOT / "docker-compose.ml.yml"
PORT = 15001


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    files = ["--file", str(FILE)]
    names = {"ML_SERVICE_PORT": str(PORT), "COMPOSE_PROJECT_NAME": "pointserve-test", **environment}
    return run("docker", "compose", *files, "--profile", "cpu", *arguments, env=os.environ | names)


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    path = tmp_path_factory.mktemp("tile") / "tile.laz"
    run(str(Path(sys.executable).with_name("pointserve")), "sample", "--size-m", "40", str(path))
    return path


@pytest.fixture
def service(cpu_image, tmp_path):
    """The container's name; the service in it is healthy."""
    models = tmp_path / "models"
    models.mkdir()
    compose("up", "--detach", "--no-build", "ml_service_cpu", MODELS_FOLDER=str(models))
    try:
        name = compose("ps", "--all", "--quiet", "ml_service_cpu").stdout.strip()
        wait_until(lambda: inspect(name, ".State.Health.Status") == "healthy", name)
        yield name
    finally:
        compose("down", "--volumes", "--timeout", "5")


def inspect(container, what):
    return run("docker", "inspect", "--format", f"{{{{{what}}}}}", container).stdout.strip()


def wait_until(true, container, limit_s=180):
    deadline = time.monotonic() + limit_s
    while not true():
        said = run("docker", "logs", "--tail", "20", container)
        assert time.monotonic() < deadline, said.stdout + said.stderr
        time.sleep(0.1)


def predict(body, query=""):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/predict{query}", body)
    return urllib.request.urlopen(request, timeout=120).read()


def test_a_cloud_is_classified_through_the_port(service, tile, tmp_path):
    (tmp_path / "out.laz").write_bytes(predict(tile.read_bytes(), "?output=laz"))
    before, after = laspy.read(tile), laspy.read(tmp_path / "out.laz")
    assert np.array_equal(before.X, after.X)
    assert len(set(after.classification)) > 1


def test_it_is_confined(service):
    assert run("docker", "exec", service, "id", "-u").stdout.strip() == "10001"
    tried = ["docker", "exec", service, "sh", "-c", "touch /app/x"]
    assert "Read-only file system" in subprocess.run(tried, capture_output=True, text=True).stderr
    assert "NoNewPrivs:\t1" in run("docker", "exec", service, "cat", "/proc/1/status").stdout
    assert "CapEff:\t0000000000000000" in run("docker", "exec", service, "cat", "/proc/1/status").stdout
    shm_mib = int(run("docker", "exec", service, "df", "-m", "--output=size", "/dev/shm").stdout.split()[-1])
    assert shm_mib == 1024


def test_large_bodies_go_to_the_volume(service):
    run("docker", "exec", service, "touch", "/spool/x")
    points = np.random.default_rng(0).uniform(0, 50, (200_000, 3)).astype("<f8")
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {points.shape}, }}".ljust(117) + "\n"
    body = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + points.tobytes()
    answer = json.loads(predict(body, "?format=npy"))
    assert answer["num_points"] == len(answer["labels"]) == 200_000


def test_sigterm_lets_a_request_end(service, tile):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(json.loads(predict(tile.read_bytes(), "?mode=exact"))))
    thread.start()
    wait_until(busy, service)
    started = time.monotonic()
    run("docker", "kill", "--signal", signal.SIGTERM.name, service)
    run("docker", "wait", service)
    thread.join(60)
    assert answers, "the request under way was not answered"
    assert answers[0]["num_points"] == len(answers[0]["labels"])
    assert inspect(service, ".State.ExitCode") == "0"
    assert time.monotonic() - started < 60


def busy():
    try:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=10).read()
    except OSError:
        return False
    return json.loads(answer)["queue"]["requests"] > 0


def test_report_of_build_and_test(cpu_image, tmp_path):
    environment = {"REPORT": str(tmp_path / "report"), "RUN_OPTIONS": "--network none" if STANDINS else ""}
    done = run(str(ROOT / "build_and_test.sh"), "--cpu", "--no-build", env=os.environ | environment)
    assert done.stdout.endswith("all tests passed\n")


def test_operators_and_model_are_right_in_the_image(cpu_image):
    confined = ["--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp"]
    facts = json.loads(run("docker", "run", *confined, cpu_image, "pointserve", "diagnose", "--deep", "--json").stdout)
    assert facts["problems"] == []
    assert {entry["state"] for entry in facts["operators"]} == {"compiled"}
    assert len([work for entry in facts["timings"] for work in entry["operators"]]) > 20
    assert facts["forward"][0]["ok"]


def test_labels(cpu_image):
    labels = json.loads(run("docker", "image", "inspect", "--format", "{{json .Config.Labels}}", CPU_IMAGE).stdout)
    assert labels["org.opencontainers.image.title"] == "pointserve"
    assert labels["org.opencontainers.image.base.name"] == CPU_BASE
    assert yaml.safe_load(FILE.read_text())["services"]["ml_service_cpu"]["image"] == CPU_IMAGE
