"""The table of networks on sizes never seen before."""

import subprocess
import sys
from pathlib import Path

from benchmarks.device_records import union_ms
from benchmarks.fresh_sizes import FreshSizes

PROGRAM = Path(__file__).parents[2] / "benchmarks/networks_gpu.py"


def test_no_size_comes_twice():
    sizes = FreshSizes()
    given = [sizes.around(200) for _ in range(60)] + [sizes.next_to(200) for _ in range(60)]
    assert len(set(given)) == len(given)
    assert all(160 <= size <= 240 for size in given[:60])


def test_time_in_which_kernels_overlap_counts_once():
    assert union_ms([(5000, 7000), (0, 2000), (1000, 3000), (1500, 1600)]) == 5


def test_a_trial_writes_every_table(tmp_path):
    arguments = ["--device", "cpu", "--sizes", "300", "--count", "1", "--precisions", "fp32", "--networks", "SpUNet"]
    command = [sys.executable, PROGRAM, *arguments, "--output", tmp_path / "made"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "made/networks-gpu.md").read_text()
    assert text in done.stdout
    assert "| SpUNet | 300 | fp32 | 1 | " in text
    assert "| sparseops::sparse_conv | " in text
    assert "### In short" in done.stdout.removeprefix(text)
