import subprocess

import pytest
from cli_samples import ROOT, command, environment


@pytest.fixture(scope="session")
def pointserve():
    """Run a command to its end; checks that it never shows a traceback."""

    def run(*arguments, **extra):
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
