"""One browser and one server for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app.sample.tile import las_bytes, make_tile
from tests.http.server import MODEL, ROOT, Server
from tests.page.browser import find_chromium, launched
from tests.page.driver import Driver


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("page")
            if "browser" in getattr(item, "fixturenames", ()) and find_chromium() is None:
                item.add_marker(pytest.mark.skip(reason="no chromium on the PATH"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = f"{ROOT / 'app/bundled'}:{MODEL}"
    with Server(tmp_path_factory.mktemp("server") / "stderr.log", models=models) as started:
        yield started.wait_ready()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    with launched() as started:
        yield started


@pytest.fixture(scope="session")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classified LAZ."""
    path = tmp_path_factory.mktemp("tiles") / "tile.laz"
    path.write_bytes(las_bytes(make_tile("town", size_m=60, density=8)))
    return path


@pytest.fixture
def page(server: Server, browser) -> Iterator[Driver]:
    """The page, newly opened; fails where it asked another host, or wrote an error to the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    driver = Driver(context.new_page(), server)
    yield driver.open()
    context.close()
    elsewhere = {url for url in driver.requested if urlsplit(url).netloc not in ("", urlsplit(server.url).netloc)}
    assert not elsewhere
    assert not driver.errors
