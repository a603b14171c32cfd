"""What runs on a GPU under the sanitizers: tests that there are, of every kernel."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "tests/gpu/one_a_kernel.txt").read_text().splitlines()
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\(")


def test_every_kernel_is_named():
    sources = [path for path in ROOT.glob("libs/*/csrc/*/*") if path.suffix in (".cu", ".cuh")]
    kernels = {name for path in sources for name in KERNEL.findall(path.read_text())}
    assert "convolve_tile" in kernels
    named = {name for line in LINES if line.startswith("# kernels:") for name in line.split()[2:]}
    assert named == kernels


def test_the_tests_exist():
    chosen = [line for line in LINES if line and not line.startswith("#")]
    assert len(chosen) == len(set(chosen))
    for line in chosen:
        name, _, test = line.partition("::")
        assert f"def {test.partition('[')[0]}(" in (ROOT / "tests/gpu" / name).read_text(), line
