import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from app.cli import main
from tests.cli.cli_samples import ROOT, command, environment

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def pointserve() -> Command:
    """Run a command in this process, because starting one takes seconds; ``extra`` are variables of the environment."""

    def run(*arguments: object, **extra: str) -> "subprocess.CompletedProcess[str]":
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
            for name in {*os.environ} - {*(variables := environment(**extra))}:
                patch.delenv(name)
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["pointserve", *map(str, arguments)])
            patch.chdir(ROOT)
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        stdout, stderr = (stream.buffer.getvalue().decode() for stream in (out, err))
        return subprocess.CompletedProcess([*map(str, arguments)], code, stdout, stderr)

    return run


@pytest.fixture(scope="session")
def pointserve_process() -> Command:
    """Run a command in a process of its own; checks that it never shows a traceback."""

    def run(*arguments: object, **extra: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command(*arguments), env=environment(**extra), cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def tile(tmp_path_factory, pointserve):
    """A labelled tile of some thousand points."""
    path = tmp_path_factory.mktemp("tile") / "tile.laz"
    done = pointserve("sample", path, "--size-m", 30, "--density", 4)
    assert done.returncode == 0, done.stderr
    return path
