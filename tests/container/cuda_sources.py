"""Every CUDA source of libs/, and the bindings, compiled by CUDA 12.4 against torch 2.5.0 for every architecture."""

import subprocess

import pytest
from conftest import ROOT, STANDINS, run

COMMON = ROOT / "libs/common"
SOURCES = sorted(
    [*COMMON.glob("*.cu"), *(path for name in ("*.cu", "*_cuda.cpp") for path in ROOT.glob(f"libs/*/csrc/*/{name}"))]
)
SOURCES = [path for path in SOURCES if not path.parent.is_symlink()]
ARCHITECTURES = "75 80 86 89 90"


@pytest.mark.parametrize("source", SOURCES, ids=[str(path.relative_to(ROOT / "libs")) for path in SOURCES])
def test_compiles(source, cuda124, tmp_path, monkeypatch):
    folder = ROOT / "libs/sparseops/csrc" if source.parent == COMMON else source.parents[1]
    monkeypatch.setenv("NVCC_APPEND_FLAGS", f"-I{folder}")
    done = run("nice", f"{STANDINS}/cucheck.sh", str(cuda124), str(tmp_path), ARCHITECTURES, str(source))
    if source.suffix == ".cu":
        found = set(done.stdout.rpartition(":")[2].split())
        assert found == {f"sm_{number}" for number in ARCHITECTURES.split()}


def test_compiler_is_that_of_the_image(cuda124):
    done = subprocess.run([cuda124 / "bin" / "nvcc", "--version"], capture_output=True, text=True)
    assert "V12.4.131" in done.stdout
