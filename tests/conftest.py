"""What all tests share: one server, because starting it takes seconds, and how threads wait."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.http.server import Server

# Threads of torch that spin while they wait take four times the time if several processes share the cores, as tests do.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# nothing is asserted of time, which says more of a machine's load than of the code
settings.register_profile("pointserve", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pointserve")

gc.disable()  # which takes a quarter of the time of imports


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from tests.http.server import Server  # a machine with a GPU may lack what it needs

    log = tmp_path_factory.mktemp("server") / "stderr.log"
    with Server(log, max_body_mib=4, queue_requests=12, upload_stall_s=3) as started:
        yield started.wait_ready()
