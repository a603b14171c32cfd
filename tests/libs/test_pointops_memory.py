"""The CPU code of pointops under sanitizers, with and without wide instructions."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "libs/pointops/csrc"
WIDE = ["-march=native"] if platform.machine() == "x86_64" else []


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize(("sanitizers", "flags"), [("address,undefined", []), ("thread", WIDE)])
def test_no_access_is_out_of_bounds_and_no_thread_meets_another(tmp_path, sanitizers, flags):
    program = tmp_path / "program"
    names = ("box_tree", "neighbours", "sampling", "features")
    files = [HERE / "sanitized/pointops.cpp", *(SOURCES / f"{name}_cpu.cpp" for name in names)]
    # the choice of instructions at run time starts before the sanitizers do
    flags = [*flags, "-std=c++17", "-O1", "-g", "-pthread", "-w", "-ffp-contract=off", "-DPOINTOPS_DISPATCHED="]
    flags += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    includes = [f"-I{HERE / 'sanitized/shim'}", f"-I{SOURCES}"]
    subprocess.run(["g++", *flags, *includes, *map(str, files), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.stdout == "right\n", done.stderr[-4000:]
