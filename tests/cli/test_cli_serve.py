import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np

from tests.cli.cli_samples import EXPERIMENT, ROOT, command, environment
from tests.http.server import free_port


def wait_until_ready(url, process, limit_s=90):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
                return answer.status
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError("the server did not become ready")


def test_serve_with_options_answers_and_stops_on_ctrl_c(tile, pointserve, tmp_path):
    port = free_port()
    process = subprocess.Popen(
        command("serve", "--port", port, "--models", EXPERIMENT, "--device", "cpu", "--threads", 1),
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        assert wait_until_ready(url, process) == 200
        request = urllib.request.Request(f"{url}/predict", data=tile.read_bytes(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            served = json.load(answer)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in errors
    assert process.returncode in (0, 130)
    out = tmp_path / "labels.npy"
    assert pointserve("predict", tile, "-o", out, "--models", EXPERIMENT).returncode == 0
    np.testing.assert_array_equal(served["labels"], np.load(out))


def test_unknown_device_ends_serve_in_one_line(pointserve):
    done = pointserve("serve", "--port", free_port(), "--device", "gpu")
    assert done.returncode == 1
    assert done.stderr.startswith("pointserve: device 'gpu' is unknown")
    assert done.stderr.count("\n") == 1


def test_a_folder_without_models_ends_serve_in_one_line(pointserve, tmp_path):
    done = pointserve("serve", "--port", free_port(), "--models", tmp_path / "nothing")
    assert done.returncode == 1
    assert done.stderr.startswith(f"pointserve: no experiment at '{tmp_path}/nothing'")
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_ends_serve_in_one_line(pointserve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = pointserve("serve", "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"pointserve: Cannot listen on port {port} of 127.0.0.1: Address already in use.")
    assert "--port or POINTSERVE_PORT" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_for_large_bodies_that_cannot_be_used_ends_serve_in_one_line(pointserve, tmp_path):
    for folder in (tmp_path / "missing", "/proc"):
        done = pointserve("serve", "--port", free_port(), POINTSERVE_SPOOL_DIR=str(folder))
        assert done.returncode == 1
        assert "POINTSERVE_SPOOL_DIR" in done.stderr
        assert str(folder) in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_checks_of_serve_load_no_torch(tmp_path):
    code = (
        "import sys; from app.cli import main\n"
        f"sys.argv = ['pointserve', 'serve', '--models', {str(tmp_path)!r}]\n"
        "try:\n    main()\n"
        "finally:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
    assert "no experiment" in done.stderr
