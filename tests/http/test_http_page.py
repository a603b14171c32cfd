"""The page's files, samples, and how far a prediction has come; what the page does is tested under tests/page."""

import io
import json
import re
import time

import laspy
import numpy as np
import pytest

from app.sample.land import KINDS
from tests.http import clouds
from tests.http.server import Server

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def test_a_browser_gets_the_page_and_all_that_it_loads_is_here(server: Server):
    page = server.get("/", headers={"Accept": BROWSER})
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "Accept" in page.headers["Vary"]
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert any(target.endswith(".js") for target in loaded)
    for target in loaded:
        assert not target.startswith(("/", "http")), "a proxy may serve the page under a path"
        assert server.get(f"/{target}").status_code == 200, target
    again = server.get("/", headers={"Accept": BROWSER, "If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.headers["Cache-Control"]) == (304, "no-cache")


def test_the_page_may_load_and_ask_nothing_elsewhere(server: Server):
    page = server.get("/", headers={"Accept": BROWSER})
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) <= {"'none'", "'self'", "'script'"}
    assert "<style" not in page.text
    assert 'style="' not in page.text
    assert not re.search(r"<script(?![^>]* src=)", page.text)


def test_files_of_the_page_are_asked_for_anew_and_not_sent_twice(server: Server):
    first = server.get("/page/page.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = server.get("/page/page.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html;q=0.5", ""])
def test_a_program_is_told_where_things_are(server: Server, accept: str):
    response = server.get("/", headers={"Accept": accept}, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (302, "docs")
    assert response.json()["samples"] == "/samples"


def test_samples_are_tiles_with_classes(server: Server):
    listed = server.get("/samples").json()["samples"]
    assert [sample["name"] for sample in listed] == list(KINDS)
    response = server.get(listed[0]["url"])
    assert response.status_code == 200
    las = laspy.read(io.BytesIO(response.content))
    assert {2, 5, 6} <= set(las.classification)
    assert server.get(listed[0]["url"]).content == response.content
    assert "town" in server.get("/samples/castle.laz").json()["detail"]


def test_progress_follows_a_slow_upload(server: Server):
    buffer = io.BytesIO()
    np.save(buffer, np.tile(clouds.table(), (4, 1)))
    data = buffer.getvalue()
    first = (1 << 20) + 1000  # bodies are read by the MiB
    seen = {}

    def pieces():
        yield data[:first]
        deadline_s = time.monotonic() + 2
        while seen.get("received_bytes", 0) < 1 << 20 and time.monotonic() < deadline_s:
            response = server.get("/progress/slow-one")
            seen.update(response.json() if response.status_code == 200 else {})
        yield data[first:]

    assert server.get("/progress/slow-one").status_code == 204
    columns = ",".join(clouds.FIELDS)
    headers = {"X-Request-Id": "slow-one"}
    response = server.post(f"/predict?output=view&columns={columns}", data=pieces(), headers=headers)
    assert response.status_code == 200, response.text
    assert response.content.startswith(b"PSVIEW")
    assert seen["stage"] == "upload"
    assert seen["received_bytes"] == 1 << 20
    assert seen["total_bytes"] is None
    assert server.get("/progress/slow-one").status_code == 204


def test_columns_feed_channels_and_a_view_says_which(server: Server):
    columns = dict(zip(clouds.FIELDS, clouds.table().T, strict=True))
    table = np.rec.fromarrays(columns.values(), names=["east", "north", "up", *clouds.FIELDS[3:]])
    buffer = io.BytesIO()
    np.save(buffer, table)
    problem = server.post(data=buffer.getvalue())
    assert problem.status_code == 422
    assert problem.json()["columns"] == ["east", "north", "up", *clouds.FIELDS[3:]]
    answer = server.post("/predict?columns=x:east,y:north,z:up", data=buffer.getvalue()).json()
    np.testing.assert_array_equal(answer["labels"], clouds.LABELS)
    path = "/predict?output=view&columns=x:east,y:north,z:up,intensity:red,nx:_"
    view = server.post(path, data=buffer.getvalue()).content
    header = json.loads(view[12 : 12 + int.from_bytes(view[8:12], "little")])
    feeds = {column["name"]: column["feeds"] for column in header["file_columns"]}
    assert (feeds["east"], feeds["red"], feeds["ny"]) == (["x"], ["intensity", "red"], [])
    assert server.post("/predict?columns=intensity:amplitude", data=buffer.getvalue()).status_code == 400
