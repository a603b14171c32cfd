"""Builds pointops._compiled: for the CPU always, for CUDA where torch has it and nvcc is found, or FORCE_CUDA=1.

TORCH_CUDA_ARCH_LIST names the architectures. Where nothing can be compiled the package installs without the extension
and runs its torch reference; with FORCE_CUDA=1 that is an error instead.
"""

import os
import warnings
from pathlib import Path

import torch
from setuptools import setup
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension

NAME = "pointops"
FORCE_CUDA = os.environ.get("FORCE_CUDA", "") == "1"
WITH_CUDA = FORCE_CUDA or (torch.version.cuda is not None and CUDA_HOME is not None)


def architectures() -> list[str]:
    """What is compiled for: cpu, and sm_75 … as TORCH_CUDA_ARCH_LIST has them."""
    if not WITH_CUDA:
        return ["cpu"]
    listed = os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "7.5;8.0;8.6;8.9;9.0").replace(" ", ";").split(";")
    return ["cpu", *(f"sm_{entry.removesuffix('+PTX').replace('.', '')}" for entry in listed if entry)]


def extension() -> CppExtension:
    """All of csrc, the CUDA sources where they can be compiled."""
    folder = Path(__file__).parent
    found = [*folder.glob("csrc/*.cpp"), *folder.glob("csrc/*.cu")]
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    sources = [name for name in names if WITH_CUDA or not name.endswith((".cu", "_cuda.cpp"))]
    # the macro is turned into a string by csrc/module.cpp
    flags = ["-O3", "-fopenmp", "-ffp-contract=off", f"-DARCHITECTURES={','.join(architectures())}"]
    if WITH_CUDA:
        compile_args = {"cxx": flags, "nvcc": ["-O3"]}
        return CUDAExtension(f"{NAME}._compiled", sources, extra_compile_args=compile_args, optional=not FORCE_CUDA)
    return CppExtension(f"{NAME}._compiled", sources, extra_compile_args=flags, optional=True)


class Build(BuildExtension):
    """Goes on without the extension where it is optional, whatever kept it from compiling."""

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except Exception as error:
            if FORCE_CUDA:
                raise
            warnings.warn(f"{NAME} is installed without its compiled operators: {error}", stacklevel=1)


setup(ext_modules=[extension()], cmdclass={"build_ext": Build})
