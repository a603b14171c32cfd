import pytest

from app.settings import Settings
from tests.engine.engine_samples import EXPERIMENT


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(models=str(EXPERIMENT), device="cpu", threads=1, readers=1)
