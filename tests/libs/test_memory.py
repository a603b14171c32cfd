"""The CPU code of the libraries under sanitizers: no access out of bounds, nothing undefined, no threads that meet.

A program runs the code on arrays of exactly their size. Under the thread sanitizer, which knows nothing of OpenMP, it
is compiled with threads of std in the place of torch's.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import compiled
import pytest
import torch
from torch.utils.cpp_extension import include_paths

HERE = Path(__file__).parent / "sanitized"
WIDE = ["-march=native"] if platform.machine() == "x86_64" else []
# the choice of instructions at run time starts before the sanitizers do
POINTOPS = ["-ffp-contract=off", "-w", "-DPOINTOPS_DISPATCHED="]
ADDRESS, THREAD = "address,undefined", "thread"
SERIAL = ["serialization", "levels", "segments", "patches", "attention"]
# program, its library and operators, sanitizers, whether threads are torch's, further flags
PROGRAMS = [
    ("pointgroup_ops", "pointgroup_ops", ["ball_query", "bfs_cluster"], ADDRESS, True, ["-ffp-contract=off"]),
    ("pointops", "pointops", ["search", "sampling", "features", "moments"], ADDRESS, False, POINTOPS),
    ("pointops", "pointops", ["search", "sampling", "features", "moments"], THREAD, False, POINTOPS + WIDE),
    ("sparseops_conv", "sparseops", ["maps", "components", "conv"], ADDRESS, False, []),
    ("sparseops_conv", "sparseops", ["maps", "components", "conv"], THREAD, False, []),
    ("sparseops_grid", "sparseops", ["grid"], ADDRESS, False, []),
    ("sparseops_grid", "sparseops", ["grid"], THREAD, False, []),
    ("sparseops_serial", "sparseops", SERIAL, ADDRESS, True, []),
]


def test_all_code_for_the_processor_is_part_of_a_program():
    libraries = {library for _, library, *_ in PROGRAMS}
    folders = {
        (library, each.parent.name) for library in libraries for each in compiled.csrc(library).glob("*/*_cpu.cpp")
    }
    assert folders == {(library, name) for _, library, names, *_ in PROGRAMS for name in names}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    ("program", "library", "operators", "sanitizers", "torchs_threads", "flags"),
    PROGRAMS,
    ids=[f"{program[0]}-{program[3]}" for program in PROGRAMS],
)
def test_memory_and_threads(program, library, operators, sanitizers, torchs_threads, flags):
    source, libraries = compiled.csrc(library), Path(torch.__file__).parent / "lib"
    flags = [*flags, "-std=c++20", "-O1", "-g", "-pthread", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    includes = [source, HERE]
    if torchs_threads:
        includes += include_paths()
        flags += ["-fopenmp", f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
        flags += [f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
    else:
        includes.insert(0, HERE / "shim")
    found = sorted(path for name in operators for path in source.glob(f"{name}/*.cpp"))
    units = [HERE / f"{program}.cpp", *(path for path in found if not path.stem.startswith("bindings"))]
    command = ["g++", *map(str, units), *flags, *(f"-I{path}" for path in includes), "-o", "program"]
    command += ["-lc10", "-ltorch_cpu"] if torchs_threads else []
    folder = compiled.kept(f"{program}-{sanitizers[:6]}", [command], compiled.sources_of(source, HERE))
    # what torch keeps until the end is not ours
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "OMP_NUM_THREADS": "4"}
    done = subprocess.run([str(folder / "program")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "right\n"
