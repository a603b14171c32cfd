import shutil
from collections import namedtuple
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest

from app.engine.service import Service
from app.survey import remote
from tests.survey.survey_files import web_server
from tests.survey.survey_runs import SETTINGS
from tests.survey.survey_store import object_store, use

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def service():
    """A service that is ready, as a survey of this machine uses one."""
    service = Service(SETTINGS)
    service.start()
    service.wait_ready(120)
    yield service
    service.stop()


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A web server of the folder ``web.folder``; failed requests are made again at once."""
    monkeypatch.setattr("app.survey.web.WAITS_S", (0.0, 0.0))
    folder = tmp_path / "served"
    folder.mkdir()
    with web_server(folder, Event()) as server:
        server.folder = folder
        yield server


@pytest.fixture(scope="module")
def endpoint():
    with object_store() as url:
        yield url


@pytest.fixture
def store(endpoint, monkeypatch):
    """The filesystem of a store with a bucket ``tiles``."""
    use(endpoint, monkeypatch)
    files = remote.filesystem("s3://")
    if not files.exists("tiles"):
        files.mkdir("tiles")
    yield files
    for path in files.find("tiles"):
        files.rm_file(path)


@pytest.fixture
def free_bytes(monkeypatch):
    """The disk has so many bytes beside what the folders in it take, which are counted here."""

    def have(num_bytes: int) -> None:
        def usage(folder: Path) -> Usage:
            used = 0
            for path in folder.rglob("*"):
                with suppress(FileNotFoundError):  # others remove files meanwhile
                    used += path.stat().st_blocks * 512 * path.is_file()
            return Usage(num_bytes, used, num_bytes - used)

        monkeypatch.setattr(shutil, "disk_usage", usage)

    return have
