import os
import re
import subprocess
import sys

import pytest
from cli_samples import ROOT, environment

from app.cli.commands import app
from app.cli.models import app as models
from app.clouds.cloud import FIELDS
from app.clouds.formats import WRITERS

HEAVY = ("torch", "numpy", "flask", "laspy", "pydantic_settings", "scipy")


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys; from app.cli import main\n"
        "sys.argv = ['pointserve', '--help']\n"
        "try:\n    main()\n"
        f"finally:\n    print('loaded', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("serve", "predict", "models", "diagnose", "verify", "sample"):
        assert f"{name} " in done.stdout
    assert "loaded []" in done.stdout


def test_help_at_80_columns_names_every_field_and_format_whole(pointserve):
    done = pointserve("predict", "--help", COLUMNS="80")
    words = re.findall(r"\w+", done.stdout)
    assert "…" not in done.stdout.replace("x,y,z …", "").replace("intensity:amplitude …", "")
    assert {*FIELDS, *WRITERS} <= set(words)
    assert "Default" in words


@pytest.mark.parametrize("command", ["models", *(command.name for command in app.registered_commands)])
def test_every_command_has_help(pointserve, command):
    assert pointserve(command, "--help").returncode == 0


@pytest.mark.parametrize("command", [command.name for command in models.registered_commands])
def test_every_command_of_models_has_help(pointserve, command):
    assert pointserve("models", command, "--help").returncode == 0


def test_version(pointserve):
    done = pointserve("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("pointserve ")


def test_wrong_usage_ends_with_2(pointserve):
    assert pointserve("sing").returncode == 2
    assert pointserve("predict").returncode == 2
    assert pointserve("serve", "--port", "0").returncode == 2


def test_settings_that_make_no_sense_are_one_line(pointserve):
    for name, value in (("LOG_LEVEL", "chatty"), ("PORT", "70000")):
        done = pointserve("serve", **{f"POINTSERVE_{name}": value})
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert value in done.stderr


def test_problems_are_one_line_and_end_with_1(pointserve):
    for arguments, words in (
        (("models", "list", "--models", "/nowhere/at/all"), "/nowhere/at/all"),
        (("sample", "x.laz", "--kind", "moon"), "town, village, forest"),
        (("verify", "tests/golden", "--device", "abacus"), "abacus"),
    ):
        done = pointserve(*arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_setting_that_makes_no_sense_is_named(pointserve):
    done = pointserve("serve", POINTSERVE_TILE_VOXELS="many")
    assert done.returncode == 1
    assert "tile_voxels" in done.stderr
    assert "many" in done.stderr


def test_diagnose(pointserve, tmp_path):
    done = pointserve("diagnose")
    assert done.returncode == 0, done.stdout
    assert "sparseops" in done.stdout
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12 is missing')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = pointserve("diagnose", PYTHONPATH=path)
    assert done.returncode == 1
    assert "libcudart.so.12 is missing" in done.stdout
    done = pointserve("verify", "tests/golden", PYTHONPATH=path)
    assert done.returncode == 1
    assert "pointserve diagnose" in done.stderr
