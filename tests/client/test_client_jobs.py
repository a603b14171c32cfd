"""Jobs by the client, against a real server."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import laspy
import pytest
from pointserve_client import Forbidden, NotFound, NotReady

from tests.http import clouds
from tests.http.server import Server


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
        job = client.submit(paths, buffer=0, output="las", on_sent=lambda *so_far: sent.append(so_far))
        assert sent[-1][0] == sent[-1][1] > sum(path.stat().st_size for path in paths)
        assert job["id"] in [each["id"] for each in client.jobs()]
        done = client.wait_job(job["id"], on_job=lambda job: states.append(job["state"]))
        assert (done["state"], states[-1], done["tiles"]["done"]) == ("done", "done", 2)
        client.fetch_job(job["id"], tmp_path / "answers.zip")
        archive = zipfile.ZipFile(tmp_path / "answers.zip")
        answers = [name for name in archive.namelist() if name.endswith(".las")]
        assert len(answers) == 2
        assert "b ü.las" in answers
        assert [len(laspy.read(io.BytesIO(archive.read(name)))) for name in answers] == [700, 700]
        assert client.retry_job(job["id"])["state"] == "waiting"
        client.remove_job(job["id"])
        with pytest.raises(NotFound):
            client.job(job["id"])


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
