"""Settings from the environment."""

import pytest

from app.cli.configuration import unknown


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
