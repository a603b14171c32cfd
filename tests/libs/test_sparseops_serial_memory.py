"""The CPU code of serialization, segments, patches and attention under the address and undefined behaviour
sanitizers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import include_paths

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "libs/sparseops/csrc"
UNITS = ["serialization_cpu.cpp", "segments_cpu.cpp", "patches_cpu.cpp", "attention_cpu.cpp"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_nothing_is_read_or_written_out_of_bounds(tmp_path):
    program, library = tmp_path / "program", Path(torch.__file__).parent / "lib"
    files = [HERE / "sanitized/sparseops_serial.cpp", *(SOURCES / unit for unit in UNITS)]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    includes = [f"-I{path}" for path in [SOURCES, *include_paths()]]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    link = [f"-L{library}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{library}"]
    command = ["g++", "-std=c++20", "-O1", "-g", "-fopenmp", abi, *sanitizers, *includes, *map(str, files), *link]
    subprocess.run([*command, "-o", str(program)], check=True)
    # what torch keeps until the end is not ours
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "OMP_NUM_THREADS": "4"}
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
