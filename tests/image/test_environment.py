"""environment.yml: what the build guide names, everything pinned, and what the service needs as the lock has it."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONDA_SPEC = re.compile(r"(?P<name>[a-z0-9-]+)=(?P<version>\d+(\.\d+)*)")
PIP_SPEC = re.compile(r"(?P<name>[a-z0-9-]+)(==(?P<version>[\w.+]+)| @ (?P<url>\S+))")
OF_EXTRAS = {"aiohttp", "gcsfs", "pye57", "s3fs"}


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text())


@pytest.fixture(scope="module")
def conda(environment):
    specs = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    matches = [CONDA_SPEC.fullmatch(spec) for spec in specs]
    assert all(matches), dict(zip(specs, matches, strict=True))
    return {match["name"]: match["version"] for match in matches}


@pytest.fixture(scope="module")
def pip(environment):
    (specs,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    specs = [spec for spec in specs if not spec.startswith("--")]
    matches = [PIP_SPEC.fullmatch(spec) for spec in specs]
    assert all(matches), dict(zip(specs, matches, strict=True))
    return {match["name"]: match["version"] or match["url"] for match in matches}


def names(path):
    text = path.read_text().partition("\ndependencies = [")[2].partition("\n]")[0]
    return {re.match(r"[\w-]+", line.strip(' ",'))[0].lower() for line in text.split("\n") if line}


def needed():
    """What the service needs and what its client needs, but for the libraries of this repository and torch."""
    own = {path.parent.name for path in ROOT.glob("libs/*/pyproject.toml")}
    listed = names(ROOT / "pyproject.toml") | names(ROOT / "libs/pointserve_client/pyproject.toml") | OF_EXTRAS
    return {name for name in listed if name.replace("-", "_") not in own} - {"torch"}


def test_name_and_channels(environment):
    assert environment["name"] == "pointcept-torch2.5.0-cu12.4"
    channels = ["pytorch", "nvidia/label/cuda-12.4.1", "nvidia", "bioconda", "conda-forge", "defaults"]
    assert environment["channels"] == channels


def test_what_the_guide_names(conda, pip):
    versions = {"pytorch": "2.5.0", "pytorch-cuda": "12.4", "torchvision": "0.20.0", "torchaudio": "2.5.0"}
    assert versions.items() <= conda.items()
    assert (conda["gcc"], conda["gxx"]) == ("13.2", "13.2")
    assert conda["python"].startswith("3.10.")
    named = "ninja google-sparsehash h5py scipy matplotlib tensorboard tensorboardx wandb open3d plyfile"
    assert set(named.split()) <= set(conda)
    named = "torch-cluster torch-scatter torch-sparse torch-geometric spconv-cu124 peft ocnn clip flash-attn"
    assert set(named.split()) <= set(pip)


def test_numbers_that_others_would_break(conda, pip):
    assert conda["numpy"].startswith("1.")
    assert tuple(map(int, conda["mkl"].split("."))) < (2024, 1)  # newer: undefined symbol iJIT_NotifyEvent
    assert 77 <= int(conda["setuptools"].split(".")[0]) < 82  # the licence in pyproject.toml; pkg_resources
    assert int(pip["protobuf"].split(".")[0]) < 6  # wandb 0.19
    assert pip["transformers"].startswith("4.")  # 5 needs torch 2.6
    assert "cuda" not in conda  # a second toolkit beside the base image's


def test_wheels_are_for_this_torch_and_python(environment, pip):
    (lines,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    options = [line for line in lines if line.startswith("--")]
    assert options == ["--find-links https://data.pyg.org/whl/torch-2.5.0+cu124.html"]
    assert not [line for line in lines if re.search(r"\S\s+-", line) and not line.startswith("--")]
    for name in ("torch-cluster", "torch-scatter", "torch-sparse"):
        assert pip[name].endswith("+pt25cu124")
    assert re.search(r"/v([\d.]+)/flash_attn-\1%2Bcu12torch2\.5cxx11abiFALSE-cp310-cp310-linux", pip["flash-attn"])
    assert re.search(r"@[0-9a-f]{40}$", pip["clip"])


def test_everything_that_the_service_needs_is_there(conda, pip):
    assert needed() <= set(conda) | set(pip), needed() - set(conda) - set(pip)


def test_the_service_runs_with_the_versions_of_the_lock(pip):
    lines = re.findall(r"^([\w-]+)==(\S+)(?: ; (.*))?$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    locked = {name: version for name, version, marker in lines if not marker or "< '3.11'" in marker}
    service = needed() & set(pip)
    assert {name: pip[name] for name in service} == {name: locked[name] for name in service}
