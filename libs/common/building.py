"""Builds the extension of a library, ``_compiled``: for the CPU always, for CUDA if torch has it and nvcc is found.

FORCE_CUDA=1 compiles for CUDA whether or not they are found. TORCH_CUDA_ARCH_LIST names the architectures. If CUDA
cannot be compiled, as with an nvcc too new for torch, the extension is compiled for the CPU alone. If nothing can be,
the package installs without it and runs its torch reference. With FORCE_CUDA=1 either is an error instead.
"""

import os
import re
import shlex
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from setuptools import setup
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension

FORCE_CUDA = os.environ.get("FORCE_CUDA", "") == "1"
WITH_CUDA = FORCE_CUDA or (torch.version.cuda is not None and CUDA_HOME is not None)


def build(
    name: str, folder: Path, units: Sequence[str] = (), flags: Sequence[str] = (), specific: Sequence[str] = ()
) -> None:
    """Run setuptools for the library ``name`` in ``folder``.

    ``units`` are the sources of csrc/common that it needs, ``flags`` arguments of the C++ compiler. Architectures in
    ``specific``, such as 9.0, are compiled with their own instructions, as 9.0a.
    """

    def extension(with_cuda: bool) -> Any:
        names = [*_sources(folder, with_cuda), *(f"csrc/common/{unit}" for unit in units if with_cuda)]
        targets = _architectures(specific) if with_cuda else ["cpu"]
        # csrc/common/module.cpp tells the architectures; Python's own flags ask for what a debugger reads, which takes
        # longer than all else
        cxx = ["-O3", "-g0", "-fopenmp", *flags, f"-DARCHITECTURES={','.join(targets)}"]
        kind = CUDAExtension if with_cuda else CppExtension
        return kind(
            f"{name}._compiled",
            names,
            include_dirs=[str(folder / "csrc")],
            depends=[str(path) for path in folder.glob("csrc/*/*") if path.suffix in (".h", ".cuh")],
            extra_compile_args={"cxx": cxx, "nvcc": ["-O3"]},
            extra_link_args=shared_libstdcxx(),
            optional=not with_cuda,
        )

    class Build(BuildExtension):
        """Compiles for the CPU alone if it fails for CUDA, and goes on without the extension if that fails too."""

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except Exception as error:
                if FORCE_CUDA:
                    raise
                (failed,) = self.extensions
                if not any(source.endswith(".cu") for source in failed.sources):
                    warnings.warn(f"{name} is installed without its compiled operators: {error}", stacklevel=1)
                    return
                warnings.warn(f"{name} is compiled for the CPU alone: {error}", stacklevel=1)
                vars(failed).update(vars(extension(with_cuda=False)))
                self.build_extensions()

    setup(ext_modules=[extension(WITH_CUDA)], cmdclass={"build_ext": Build})


def _sources(folder: Path, with_cuda: bool) -> list[str]:
    """Of all operators, each in a folder of csrc, and the module, relative to ``folder``."""
    found = [path for suffix in ("cpp", "cu") for path in folder.glob(f"csrc/*/*.{suffix}")]
    names = [path.relative_to(folder).as_posix() for path in found if path.parent.name != "common"]
    kept = [name for name in names if with_cuda or not name.endswith((".cu", "_cuda.cpp"))]
    return sorted([*kept, "csrc/common/module.cpp"])


def _architectures(specific: Sequence[str]) -> list[str]:
    """What is compiled for: cpu, and sm_75 … as TORCH_CUDA_ARCH_LIST has them, which is set to what nvcc is given.

    An architecture with its own instructions is machine code for the same devices, and reported without the letter.
    """
    listed = os.environ.get("TORCH_CUDA_ARCH_LIST", "7.5;8.0;8.6;8.9;9.0").replace(" ", ";").split(";")
    own = {entry: [f"{entry}a"] for entry in specific} | {
        f"{entry}+PTX": [f"{entry}a", f"{entry}+PTX"] for entry in specific
    }
    compiled = [name for entry in listed if entry for name in own.get(entry, [entry])]
    os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(compiled)
    names = [entry.removesuffix("+PTX").removesuffix("a").replace(".", "") for entry in compiled]
    return ["cpu", *(f"sm_{name}" for name in dict.fromkeys(names))]


def shared_libstdcxx() -> list[str]:
    """Arguments of the linker: the libstdc++ that torch has loaded, if the compiler has it as an archive only.

    Otherwise the extension gets a copy of its own, and the first number in an error message crashes.
    """
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    try:
        found = subprocess.run([*compiler, "-print-file-name=libstdc++.so"], capture_output=True, text=True).stdout
        loaded = re.search(r"/\S*/libstdc\+\+\.so\S*$", Path("/proc/self/maps").read_text(), re.MULTILINE)
    except OSError:
        return []
    if loaded is None or Path(found.strip()).is_absolute():
        return []
    return ["-Wl,--no-as-needed", loaded[0], "-Wl,--as-needed"]
