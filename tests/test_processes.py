"""Processes that run to their end."""

import os
import time
from pathlib import Path

import pytest

from app import processes
from app.processes import Task, ending


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module that a process can run, and gives its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(code: str) -> str:
        (tmp_path / "made.py").write_text(code)
        return "made"

    return make


def test_what_it_writes_and_how_it_ends_is_told_however_much_it_is(module):
    code = "import sys; print('x' * 1_000_000); print(*sys.argv[1:], file=sys.stderr); sys.exit(3)"
    done = processes.run(module(code), ["one", "two"], dict(os.environ), 60)
    assert (done.returncode, len(done.stdout), done.stderr) == (3, 1_000_001, b"one two\n")
    assert ending(done.returncode) == "ended with exit code 3"


def test_it_reads_what_it_is_given_however_much_it_is(module):
    code = "import sys; print(len(sys.stdin.read()))"
    with Task(module(code), stdin=b"x" * 1_000_000) as task:
        assert task.wait(60).stdout == b"1000000\n"
    assert processes.run(module(code), [], dict(os.environ), 60).stdout == b"0\n"


def test_it_gets_no_other_environment(module):
    variables = {"PYTHONPATH": os.environ["PYTHONPATH"], "ONLY": "this"}
    done = processes.run(module("import os; print(sorted(os.environ))"), [], variables, 60)
    assert b"ONLY" in done.stdout
    assert b"HOME" not in done.stdout


def test_one_that_takes_too_long_is_killed_with_what_it_started(module, tmp_path):
    code = f"""
import os, pathlib, subprocess, sys, time
nap = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(tmp_path)!r}, "part").write_text(f"{{os.getpid()}} {{nap.pid}}")
os.rename({str(tmp_path / "part")!r}, {str(tmp_path / "pids")!r})
time.sleep(600)
"""
    with Task(module(code)) as task:
        until = time.monotonic() + 60
        while not (tmp_path / "pids").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        with pytest.raises(TimeoutError):
            task.wait(0.0)
    stats = [Path(f"/proc/{pid}/stat") for pid in (tmp_path / "pids").read_text().split()]
    while any(stat.exists() and ") Z" not in stat.read_text() for stat in stats):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(-9, "SIGKILL, as the system does when memory runs out"), (-11, "was ended by SIGSEGV"), (-99, "by signal 99")],
)
def test_signals_are_told_by_name(returncode, words):
    assert ending(returncode).endswith(words)
