from threading import Event

import pytest

from tests.survey.survey_files import web_server


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A web server of the folder ``web.folder``; failed requests are made again at once."""
    monkeypatch.setattr("app.survey.web.WAITS_S", (0.0, 0.0))
    folder = tmp_path / "served"
    folder.mkdir()
    with web_server(folder, Event()) as server:
        server.folder = folder
        yield server
