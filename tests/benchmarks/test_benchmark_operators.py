"""The table of the operators: in one run, and never without its peers unasked."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# as where neither peer is installed
PROGRAM = """
import runpy, sys
sys.modules.update(spconv=None, fpsample=None)
sys.path.insert(0, {folder!r})
sys.argv[0] = {folder!r} + "/operators.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def measured(*arguments):
    """A trial of the whole table."""
    program = PROGRAM.format(folder=str(BENCHMARKS))
    command = [sys.executable, "-c", program, "--scale", "0.003", "--repeats", "1", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_table_with_its_peers_is_not_overwritten_by_one_without(tmp_path):
    output = tmp_path / "operators.md"
    output.write_text("with peers")
    done = measured("--output", output)
    assert done.returncode == 1
    assert "spconv (`pip install spconv`), fpsample (`pip install fpsample`)" in done.stderr
    assert "--without-peers" in done.stderr
    assert not done.stdout
    assert output.read_text() == "with peers"


def test_one_run_writes_the_whole_table_and_says_which_peers_are_missing(tmp_path):
    output = tmp_path / "operators.md"
    output.write_text("with peers")
    done = measured("--output", output, "--without-peers")
    assert done.returncode == 0, done.stderr
    text = output.read_text()
    assert done.stdout.strip() == text.strip()
    assert text.count("\n## ") == 5
    for peer in ("spconv", "fpsample"):
        assert f"{peer} is missing: `pip install {peer}`." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert any("missing" in row and "→" in row for row in rows)
    assert any(row.startswith("| spconv |") and "missing" in row for row in rows)
