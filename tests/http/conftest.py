"""One server for all tests of this folder: starting it takes seconds."""

from collections.abc import Iterator

import pytest

from tests.http.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "stderr.log"
    with Server(log, max_body_mib=4, queue_requests=12, upload_stall_s=3) as started:
        yield started.wait_ready()
