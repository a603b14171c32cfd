"""Every CUDA source compiles for every architecture that is promised, wherever there is nvcc; no GPU is needed."""

import shutil
from pathlib import Path

import compiled
import pytest

COMMON = compiled.LIBS / "common"
SOURCES = sorted([*compiled.LIBS.glob("*/csrc/*/*.cu"), *COMMON.glob("*.cu")])
ARCHITECTURES = ("75", "80", "86", "89", "90", "90a")
# as torch compiles extensions
MACROS = ["HALF_OPERATORS", "HALF_CONVERSIONS", "BFLOAT16_CONVERSIONS", "HALF2_OPERATORS"]
TORCH_FLAGS = [*(f"-D__CUDA_NO_{name}__" for name in MACROS), "--expt-relaxed-constexpr"]


def folder_of(source: Path) -> Path:
    """What its includes are relative to."""
    return compiled.csrc("sparseops") if source.parent == COMMON else source.parents[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.parametrize(
    "source",
    [path for path in SOURCES if not path.parent.is_symlink()],
    ids=lambda path: path.relative_to(compiled.LIBS).as_posix(),
)
def test_compiles_without_warnings(source):
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES]
    flags = ["-std=c++17", "-O3", "-c", "--Werror=all-warnings", "--threads=2", *TORCH_FLAGS, *targets]
    folder = folder_of(source)
    headers = [path for path in compiled.sources_of(folder) if path.suffix in (".h", ".cuh")]
    command = ["nvcc", *flags, f"-I{folder}", str(source), "-o", "out.o"]
    compiled.kept(f"cuda-{folder.parent.name}-{source.stem}", [command], [source, *headers])
