"""Jobs by the client, against a real server."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import laspy
import numpy as np
import pytest
from pointserve_client import Forbidden, NotFound, NotReady

from tests.client.scripted import Scripted, problem
from tests.http import clouds
from tests.http.server import Server

CLASSES = ",".join(f"{number}:{100 + number}" for number in range(clouds.CLASSES))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "open").mkdir()
    with Server(folder / "stderr.log", jobs_dir=folder / "jobs", jobs_roots=folder / "open") as started:
        started.root_of_sources = folder / "open"
        yield started.wait_ready()


def test_files_go_out_as_a_job_and_come_back(kind, service: Server, tmp_path: Path):
    paths = [tmp_path / 'so "named".laz', tmp_path / "b ü.laz"]
    for number, path in enumerate(paths):
        path.write_bytes(clouds.laz(slice(700 * number, 700 * number + 700)))
    with kind(service.url) as client:
        sent, states = [], []
        area = "-1e9,-1e9,1e9,1e9" + " " * 5000  # too long for an address
        options = {"output": "las", "within": area, "classes": CLASSES}
        job = client.submit(paths, buffer=0, on_sent=lambda *so_far: sent.append(so_far), **options)
        assert sent[-1][0] == sent[-1][1] > sum(path.stat().st_size for path in paths)
        assert job["id"] in [each["id"] for each in client.jobs()]
        done = client.wait_job(job["id"], on_job=lambda job: states.append(job["state"]))
        assert (done["state"], states[-1], done["tiles"]["done"]) == ("done", "done", 2)
        client.fetch_job(job["id"], tmp_path / "answers.zip")
        archive = zipfile.ZipFile(tmp_path / "answers.zip")
        answers = [name for name in archive.namelist() if name.endswith(".las")]
        assert len(answers) == 2
        assert "b ü.las" in answers
        labelled = [laspy.read(io.BytesIO(archive.read(name))) for name in answers]
        assert [len(each) for each in labelled] == [700, 700]
        assert all(np.asarray(each.classification).min() >= 100 for each in labelled)  # what the classes are given
        assert client.retry_job(job["id"])["state"] == "waiting"
        client.remove_job(job["id"])
        with pytest.raises(NotFound):
            client.job(job["id"])


def test_answers_are_fetched_one_by_one_under_names_with_folders(kind, service: Server, tmp_path: Path):
    (tmp_path / "a.laz").write_bytes(clouds.laz(slice(500)))
    with kind(service.url) as client:
        job, tiles = client.submit({"north/ü.laz": tmp_path / "a.laz", "b.laz": tmp_path / "a.laz"}, buffer=0), []
        client.wait_job(job["id"], on_tile=tiles.append)
        assert {(each["name"], each["state"]) for each in tiles} >= {("north/ü.laz", "done"), ("b.laz", "done")}
        files = client.job_answers(job["id"])["files"]
        assert [each["name"] for each in files] == ["north/ü.laz", "b.laz", "report.html", "survey.vpc"]
        for each in files:
            client.fetch_answer(job["id"], each["url"], tmp_path / "out" / each["name"])
            assert (tmp_path / "out" / each["name"]).stat().st_size == each["bytes"]
        with pytest.raises(NotFound):
            client.fetch_answer(job["id"], "result/nothing", tmp_path / "nothing")


def test_watching_goes_on_when_events_break_off(kind):
    job = {"id": "a", "state": "running", "tiles": {}}
    plain = {"Content-Type": "application/json"}
    now, end = ((200, plain, json.dumps({**job, "state": state}).encode()) for state in ("running", "done"))
    events = 'event: tile\ndata: {"name": "t"}\n\n:\n\nevent: job\ndata: {"state": "running"}\n\nevent: end\nda'
    part = (200, {"Content-Type": "text/event-stream", "Content-Length": "1000"}, events.encode())
    tiles, states = [], []
    with Scripted([now, part, now, problem(429, "full"), end]) as server, kind(server.url) as client:
        done = client.wait_job("a", on_job=lambda job: states.append(job["state"]), on_tile=tiles.append)
    assert (done["state"], tiles, states) == ("done", [{"name": "t"}], ["running", "running", "running", "done"])
    assert [path for path, _, _ in server.seen] == ["/jobs/a", "/jobs/a/events"] * 2 + ["/jobs/a"]


def test_sources_are_read_by_the_server(kind, service: Server, tmp_path: Path):
    (service.root_of_sources / "a.laz").write_bytes(clouds.laz(slice(500)))
    with kind(service.url) as client:
        with pytest.raises(Forbidden, match="POINTSERVE_JOBS_ROOTS"):
            client.submit_sources([str(tmp_path)])
        job = client.submit_sources([str(service.root_of_sources)])
        with pytest.raises(NotReady, match="has not ended"):
            client.wait_job(job["id"], 0.0)
        client.wait_job(job["id"])
        client.fetch_job(job["id"], tmp_path / "out.laz")
        assert len(laspy.read(tmp_path / "out.laz")) == 500


def test_a_file_that_is_not_there_is_said_at_once(kind, service: Server, tmp_path: Path):
    with kind(service.url) as client, pytest.raises(FileNotFoundError):
        client.submit([tmp_path / "nothing.laz"])
