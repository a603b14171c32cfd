import os
import re
import subprocess
import sys

import pytest

from app.cli.commands import app
from app.cli.configuration import configure
from app.cli.models import app as models
from app.clouds.catalog import WRITERS
from app.clouds.fields import FIELDS
from app.errors import BadRequest
from tests.cli.cli_samples import ROOT, environment

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


def test_help_at_80_columns_names_every_field_and_format_whole(pointserve_process):
    done = pointserve_process("predict", "--help", COLUMNS="80")
    words = re.findall(r"\w+", done.stdout)
    assert "…" not in done.stdout
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


def test_settings_that_make_no_sense_are_one_line(pointserve, monkeypatch):
    for name, value, expected in (
        ("LOG_LEVEL", "chatty", "'debug', 'info', 'warning' or 'error'"),
        ("PORT", "70000", "less than 65536"),
        ("PORT", "five", "a whole number"),
        ("TILE_VOXELS", "2.5", "a whole number"),
        ("GRACE_S", "inf", "a number that is finite"),
        ("GRACE_S", "soon", "a number"),
        ("QUEUE_REQUESTS", "-17", "more than 0"),
        ("BATCH_REQUESTS", "65", "64 or less"),
        ("TRACES", "perhaps", "yes or no"),
        ("API_KEYS", "opensesame", "entries as `pointserve key NAME` prints them"),
        ("API_KEYS", "me=opensesame", "entries as `pointserve key NAME` prints them"),
        ("PRECISION", "fp8", "auto, fp32, upstream, fp16 or bf16"),
        ("BACKEND", "torchserve", "auto, native or upstream"),
        ("LEGACY_BLOCKS", "room=maybe", "auto, yes or no"),
        ("PATH_PREFIX", "<script>", "a path of letters"),
        ("ALLOWED_HOSTS", "lidar:5001", "names without ports"),
        ("CORS_ORIGINS", "maps.lidar.test", "origins such as https://"),
        ("PERMITTED_NAMES", "os.system;eval", "names such as os.system"),
    ):
        with pytest.raises(BadRequest) as caught:
            configure_in({f"POINTSERVE_{name}": value}, monkeypatch)
        assert f"POINTSERVE_{name}: expected {expected}" in caught.value.detail
        assert value not in caught.value.detail
        assert "^" not in caught.value.detail
    done = pointserve("serve", POINTSERVE_API_KEYS="opensesame")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "opensesame" not in done.stderr


def test_a_default_model_that_is_not_there_ends_serve(pointserve):
    done = pointserve("serve", POINTSERVE_DEFAULT_MODEL="foo")
    assert done.returncode == 1
    assert "POINTSERVE_DEFAULT_MODEL names a model that POINTSERVE_MODELS does not hold" in done.stderr
    assert "There are: aerial-semseg-spunet-v1m1." in done.stderr
    done = pointserve("serve", "--device", "cpu", POINTSERVE_PRECISION="foo=fp32", POINTSERVE_HOST="192.0.2.1")
    assert "POINTSERVE_PRECISION is for a model 'foo'" in done.stderr


def configure_in(environment, monkeypatch):
    """The settings in that environment, which is put back afterwards."""
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return configure()


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


def test_diagnose(pointserve_process, tmp_path):
    done = pointserve_process("diagnose")
    assert done.returncode == 0, done.stdout
    assert "sparseops" in done.stdout
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12 is missing')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = pointserve_process("diagnose", PYTHONPATH=path)
    assert done.returncode == 1
    assert "libcudart.so.12 is missing" in done.stdout
    done = pointserve_process("verify", "tests/golden", PYTHONPATH=path)
    assert done.returncode == 1
    assert "pointserve diagnose" in done.stderr
