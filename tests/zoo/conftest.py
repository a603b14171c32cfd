import shutil
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "experiments" / "scannet-semseg-spunet-v1m1-0-base"


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the golden experiment that a test may change."""
    return Path(shutil.copytree(GOLDEN, tmp_path / GOLDEN.name))
