"""Settings from the environment, and from the options of commands."""

import os

import pytest
import typer
from typer.testing import CliRunner

from app.cli.commands import app
from app.cli.configuration import configure, unknown
from app.settings import ModelSettings


def test_a_misspelled_setting_is_warned_of_once(pointserve, tmp_path):
    done = pointserve("serve", "--models", tmp_path, POINTSERVE_PROT="5030")
    assert done.stderr.splitlines()[0] == (
        "Warning: POINTSERVE_PROT is no setting and is ignored; did you mean POINTSERVE_PORT?"
    )
    assert done.stderr.count("POINTSERVE_PROT") == 1


def test_what_is_like_no_setting_is_warned_of_too():
    (warning,) = unknown({"POINTSERVE_ZZZ": "1"})
    assert warning == "POINTSERVE_ZZZ is no setting and is ignored; docs/operations.md lists all settings."


@pytest.mark.parametrize(
    "name",
    [
        "POINTSERVE_PORT",
        "pointserve_port",
        "POINTSERVE_KEY",
        "POINTSERVE_SERVICE_HOST",
        "POINTSERVE_SERVICE_PORT_HTTP",
        "POINTSERVE_PORT_5001_TCP",
        "POINTSERVE_PORT_5001_TCP_ADDR",
        "POINTSERVE_GPU_SERVICE_PORT",
        "POINTSERVE_GPU_PORT_5001_TCP_PROTO",
        "PATH",
    ],
)
def test_what_is_known_is_not(name):
    assert not list(unknown({name: "x"}))


@pytest.mark.parametrize(("name", "most"), [("READERS", 256), ("THREADS", 1024)])
def test_numbers_of_processes_and_threads_that_no_machine_has_are_refused(pointserve, name, most):
    done = pointserve("serve", **{f"POINTSERVE_{name}": "1000000"})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"pointserve: POINTSERVE_{name}: expected {most} or less.")


@pytest.mark.parametrize("command", ["serve", "predict"])
def test_every_setting_of_models_is_an_option_with_its_own_description(command):
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
    assert done.exit_code == 0
    for name, field in ModelSettings.model_fields.items():
        (line,) = [line for line in done.output.splitlines() if f" --{name.replace('_', '-')} " in line]
        assert field.description[1:40] in line


def test_an_option_comes_before_the_environment_which_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("POINTSERVE_PRECISION", "fp16")
    monkeypatch.setenv("POINTSERVE_THREADS", "3")
    before = dict(os.environ)
    settings = configure(precision="bf16", models=None)
    assert (settings.precision, settings.threads, settings.models) == ("bf16", 3, "")
    assert dict(os.environ) == before


def test_an_option_that_does_not_fit_is_named_as_such(monkeypatch):
    monkeypatch.setenv("POINTSERVE_THREADS", "3")
    with pytest.raises(typer.BadParameter, match="expected 1024 or less") as caught:
        configure(threads="1000000")
    assert caught.value.param_hint == "--threads"
