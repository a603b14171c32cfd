"""A machine with a GPU that has Python, torch, numpy and pytest, but none of what the service needs beside them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABSENT = ("apiflask", "flask", "gunicorn", "httpx2", "laspy", "lazrs", "lzf", "orjson", "prometheus_client", "pydantic")
ABSENT += ("pydantic_settings", "pynvml", "pyproj", "rich", "structlog", "typer")
PROGRAM = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
import pytest
sys.exit(pytest.main(["-m", "gpu", "--collect-only", "tests/gpu"]))
"""


@pytest.fixture(scope="module")
def collected() -> str:
    # without plugins, which need some of it
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("name", ["operators", "sparseops", "sparseops_serial", "pointops", "pointgroup_ops"])
def test_tests_of_operators_are_collected(collected, name):
    assert f"test_{name}_cuda.py::" in collected


@pytest.mark.parametrize("name", ["networks", "bundled", "goldens"])
def test_tests_that_need_the_wheels_are_left_out(collected, name):
    assert f"test_{name}_cuda.py::" not in collected
