"""Every CUDA source compiles for every architecture that is promised, wherever there is nvcc; no GPU is needed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(ROOT.glob("libs/*/csrc/*.cu"))
ARCHITECTURES = ("75", "80", "86", "89", "90", "90a")
# as torch compiles extensions
MACROS = ["HALF_OPERATORS", "HALF_CONVERSIONS", "BFLOAT16_CONVERSIONS", "HALF2_OPERATORS"]
TORCH_FLAGS = [*(f"-D__CUDA_NO_{name}__" for name in MACROS), "--expt-relaxed-constexpr"]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.parametrize("source", SOURCES, ids=[path.relative_to(ROOT / "libs").as_posix() for path in SOURCES])
def test_compiles_without_warnings(source, tmp_path):
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES]
    command = ["nvcc", "-std=c++17", "-O3", "-c", "--Werror=all-warnings", "--threads=2", *TORCH_FLAGS, *targets]
    done = subprocess.run([*command, str(source), "-o", str(tmp_path / "out.o")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
