"""Every test that takes ``kind`` runs with both clients."""

import pytest
from pointserve_client import Client

from tests.client.scripted import Awaited


@pytest.fixture(params=[Client, Awaited], ids=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> type:
    return request.param
