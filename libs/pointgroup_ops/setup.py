"""Builds pointgroup_ops._C: for the CPU always, for CUDA where torch has it and nvcc is found, or FORCE_CUDA=1.

TORCH_CUDA_ARCH_LIST names the architectures. Where CUDA cannot be compiled, as with an nvcc too new for torch, the CPU
alone is compiled for; where nothing can be, the package installs without the extension and runs its torch reference.
With FORCE_CUDA=1 either is an error instead.
"""

import os
import warnings
from pathlib import Path

import torch
from setuptools import setup
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension

NAME = "pointgroup_ops"
FORCE_CUDA = os.environ.get("FORCE_CUDA", "") == "1"
WITH_CUDA = FORCE_CUDA or (torch.version.cuda is not None and CUDA_HOME is not None)


def architectures(with_cuda: bool) -> list[str]:
    """What is compiled for: cpu, and sm_75 … as TORCH_CUDA_ARCH_LIST has them."""
    if not with_cuda:
        return ["cpu"]
    listed = os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "7.5;8.0;8.6;8.9;9.0").replace(" ", ";").split(";")
    return ["cpu", *(f"sm_{entry.removesuffix('+PTX').replace('.', '')}" for entry in listed if entry)]


def extension(with_cuda: bool) -> CppExtension:
    """All of csrc, or what the CPU needs of it."""
    folder = Path(__file__).parent
    found = [*folder.glob("csrc/*.cpp"), *folder.glob("csrc/*.cu")]
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    sources = [name for name in names if with_cuda or not name.endswith((".cu", "_cuda.cpp"))]
    # the macro is turned into a string by csrc/module.cpp
    flags = ["-O3", "-fopenmp", "-ffp-contract=off", f"-DARCHITECTURES={','.join(architectures(with_cuda))}"]
    if with_cuda:
        compile_args = {"cxx": flags, "nvcc": ["-O3"]}
        return CUDAExtension(f"{NAME}._C", sources, extra_compile_args=compile_args)
    return CppExtension(f"{NAME}._C", sources, extra_compile_args=flags, optional=True)


class Build(BuildExtension):
    """Compiles for the CPU alone where it fails for CUDA, and goes on without the extension where that fails too."""

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except Exception as error:
            if FORCE_CUDA:
                raise
            (failed,) = self.extensions
            if not any(name.endswith(".cu") for name in failed.sources):
                warnings.warn(f"{NAME} is installed without its compiled operators: {error}", stacklevel=1)
                return
            warnings.warn(f"{NAME} is compiled for the CPU alone: {error}", stacklevel=1)
            vars(failed).update(vars(extension(with_cuda=False)))
            self.build_extensions()


setup(ext_modules=[extension(WITH_CUDA)], cmdclass={"build_ext": Build})
