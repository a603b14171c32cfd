"""The CUDA code of a library, kernels and bindings, run on the processor by emulated threads.

The sources are compiled against stand-ins (tests/libs/emulated) into operators of their own, torch.ops.…_emulated,
which take tensors on the CPU. Indices, barriers and asynchronous copies are those of the kernels. Stood in for are only
the instructions of tensor cores, and CUB's sort and sum.
"""

import ctypes
import functools
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import compiled
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.cpp_extension import include_paths

STAND_INS = Path(__file__).parent / "emulated"
REASON = "needs the CUDA toolkit and g++"
MISSING = shutil.which("nvcc") is None or shutil.which("g++") is None
# cannot be emulated, or is CUB's
LEFT_OUT = {"conv_hopper.cu"}
FLAGS = ["-std=c++20", "-O1", "-w", "-fPIC", "-ffp-contract=off", "-DCANDIDATES_AT_ONCE=64", "-DMANY_IN_CELL=64"]
TORCH = Path(torch.__file__).parent / "lib"
# its own stand-ins of the CUDA runtime, also if a torch with CUDA has loaded the real one
LINK = ["-shared", "-Wl,-Bsymbolic", f"-L{TORCH}", f"-Wl,-rpath,{TORCH}", "-lc10", "-ltorch_cpu"]


@functools.cache
def emulated(library: str) -> ctypes.CDLL:
    """Load the emulated operators of ``library``, with functions set_… of tests/libs/emulated/runtime.cpp."""
    folder = compiled.kept(
        f"emulated-{library}", _commands(library), compiled.sources_of(compiled.csrc(library), STAND_INS)
    )
    path = str(folder / "emulated.so")
    torch.ops.load_library(path)
    definitions = torch.library.Library(f"{library}_emulated", "FRAGMENT")
    for name in _names(f"{library}_emulated"):
        schema = str(getattr(getattr(torch.ops, library), name).default._schema)
        definitions.define(schema.partition("::")[2])
    _LIBRARIES.append(definitions)  # it defines while it lives
    return ctypes.CDLL(path)


_LIBRARIES: list[torch.library.Library] = []


@functools.cache
def _names(namespace: str) -> frozenset[str]:
    """Of the operators of ``namespace``, once they are loaded."""
    found = (name.split("::") for name in torch._C._dispatch_get_all_op_names())
    return frozenset(name for own, name in found if own == namespace)


def _commands(library: str) -> list[list[str]]:
    source = compiled.csrc(library)
    dry_run = subprocess.run(["nvcc", "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
    toolkit = re.search(r"TOP=(.*)", dry_run)[1] + "/include"
    includes = [f"-I{path}" for path in (STAND_INS, source, toolkit, *include_paths())]
    kernels = [path for path in source.glob("*/*.cu") if path.name not in LEFT_OUT and path.parent.name != "common"]
    stood_in = [path for path in STAND_INS.glob("*/*.cpp") if (source / path.parent.name).exists()]
    shared = [
        path for path in source.glob("*/*.cpp") if not path.stem.endswith(("_cpu", "bindings", "_cuda", "module"))
    ]
    units = {path.stem: path for path in (STAND_INS / "runtime.cpp", *kernels, *stood_in, *shared)}
    units |= {f"{path.parent.name}_bindings": path for path in source.glob("*/bindings_cuda.cpp")}
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    compile_one = ["g++", *FLAGS, abi, *includes, "-x", "c++", "-c"]
    commands = [[*compile_one, str(path), "-o", f"{name}.o"] for name, path in sorted(units.items())]
    return [*commands, ["g++", *(f"{name}.o" for name in sorted(units)), *LINK, "-o", "emulated.so"]]


class Redirected(TorchDispatchMode):
    """Operators of a library called within go to the emulated ones of the same name; ``called`` tells which did."""

    def __init__(self, library: str):
        super().__init__()
        emulated(library)
        self.library, self.called = library, set()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        library, _, name = function._schema.name.partition("::")
        if library == self.library:
            if name == "pack_weight":  # on a GPU a weight is read as it is
                return arguments[0].clone()
            if name in _names(f"{library}_emulated"):
                self.called.add(name)
                function = getattr(getattr(torch.ops, f"{library}_emulated"), name).default
        return function(*arguments, **(named or {}))


@contextmanager
def poisoned():
    """Memory that is not written shows: floats are NaN and integers the largest there are."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
