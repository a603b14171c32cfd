"""One version everywhere, and wheels that hold what they need."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]


@pytest.mark.parametrize("path", sorted(ROOT.glob("libs/*/pyproject.toml")), ids=lambda path: path.parent.name)
def test_libraries_have_the_version_of_the_service(path: Path):
    assert f'\nversion = "{VERSION}"\n' in path.read_text()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_have_the_version_of_the_service(name: str):
    assert f"\nARG VERSION={VERSION}\n" in (ROOT / name).read_text()


def test_the_change_log_ends_in_this_version_with_its_date():
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[([^]]+)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert [name for name, _ in sections][:2] == ["Unreleased", VERSION]
    assert all(date for name, date in sections if name != "Unreleased")
    assert f"git tag -a v{VERSION} " in (ROOT / "CONTRIBUTING.md").read_text()


def built(source: Path, folder: Path, what: str) -> Path:
    """What the build backend makes of a copy of ``source``: a wheel, or an sdist."""
    tree = folder / "tree"
    shutil.copytree(source, tree, ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__", "*.so"))
    code = f"from setuptools import build_meta; build_meta.build_{what}({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True, timeout=300)
    (found,) = [path for path in folder.iterdir() if path != tree]
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel of the service."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "app", source / "app", ignore=shutil.ignore_patterns("__pycache__"))
    with zipfile.ZipFile(built(source, folder, "wheel")) as wheel:
        return wheel.namelist()


def test_the_wheel_of_the_service_holds_every_file_of_it(service: list[str]):
    files = [path for path in (ROOT / "app").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(service)


def test_the_client_is_a_wheel_and_a_source_distribution(tmp_path: Path):
    package = ROOT / "libs/pointserve_client"
    modules = {f"pointserve_client/{path.name}" for path in (package / "pointserve_client").glob("*.py")}
    for what in ("wheel", "sdist"):
        (tmp_path / what).mkdir()
    with zipfile.ZipFile(built(package, tmp_path / "wheel", "wheel")) as wheel:
        assert {*modules, "pointserve_client/py.typed"} <= set(wheel.namelist())
        (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        assert f"\nVersion: {VERSION}\n" in wheel.read(metadata).decode()
    with tarfile.open(built(package, tmp_path / "sdist", "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*modules, "pointserve_client/py.typed", "pyproject.toml", "README.md", "LICENSE"} <= names
