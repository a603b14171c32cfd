import pytest
from engine_samples import EXPERIMENT

from app.settings import Settings


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(models=str(EXPERIMENT), device="cpu", threads=1, readers=1)
