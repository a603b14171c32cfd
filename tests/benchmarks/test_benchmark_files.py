"""The tables of reading and writing files."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_trial_prints_both_tables_beside_another_checkout():
    arguments = ["--points", "1000", "--formats", "npy", "--outputs", "json", "--repeats", "1", "--against", str(ROOT)]
    command = [sys.executable, "-m", "benchmarks.files", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith(("| npy", "| json"))]
    assert [row[:2] for row in rows] == [["| npy", "1,000"], ["| json", "1,000"]]
    assert all(float(cell) > 0 for row in rows for cell in (row[3], row[6]))
