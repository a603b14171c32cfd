"""The CPU code of kernel maps, convolution and grids under sanitizers, on every instruction set of this processor."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "libs/sparseops/csrc"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
@pytest.mark.parametrize(("part", "units"), [("conv", ["maps_cpu.cpp", "conv*_cpu.cpp"]), ("grid", ["grid_cpu.cpp"])])
def test_no_access_is_out_of_bounds_and_no_thread_meets_another(tmp_path, sanitizers, part, units):
    program = tmp_path / "program"
    files = [HERE / f"sanitized/sparseops_{part}.cpp", *(path for unit in units for path in SOURCES.glob(unit))]
    flags = ["-std=c++17", "-O1", "-g", "-pthread", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    includes = [f"-I{HERE / 'sanitized/shim'}", f"-I{SOURCES}"]
    subprocess.run(["g++", *flags, *includes, *map(str, files), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.stdout == "right\n", done.stderr[-4000:]
