"""Jobs whose answers go to an object store, and are fetched there by links."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from pointserve_client import Client

from app.cli.survey_fetch import fetch
from app.survey import remote
from tests.http import clouds
from tests.http.jobs import TILES, ended, until, uploaded
from tests.http.server import Server
from tests.survey.survey_store import object_store, use

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
LINK_S = 90
BESIDE = ["report.html", "survey.vpc"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jobs")
    settings = {"jobs_dir": folder / "jobs", "jobs_store": "s3://answers/of/jobs/", "jobs_link_s": LINK_S}
    with object_store() as endpoint, pytest.MonkeyPatch.context() as patch:
        use(endpoint, patch)
        remote.filesystem("s3://").mkdir("answers")
        with Server(folder / "stderr.log", **settings) as started:
            yield started.wait_ready()


def stored() -> list[str]:
    return remote.filesystem("s3://").find("answers")


def test_answers_in_a_store_are_fetched_by_links_and_removed_with_their_job(service: Server, tmp_path: Path):
    brought = {name: clouds.laz(rows) for name, rows in TILES.items()} | {"bad.laz": b"LASF" + bytes(500)}
    job_id = uploaded(service, brought, params={"buffer": 0}).json()["id"]
    assert ended(service, job_id)["tiles"]["done"] == 2
    assert stored() == sorted(f"answers/of/jobs/{job_id}/{name}" for name in (*TILES, *BESIDE))
    answer = service.get(f"/jobs/{job_id}/result")
    assert answer.headers["Content-Type"] == "application/json"
    listed = answer.json()
    assert [each["name"] for each in listed["files"]] == [*TILES, *BESIDE]
    assert listed["expires"]
    for each in listed["files"]:
        query = parse_qs(urlsplit(each["url"]).query)
        assert query.get("X-Amz-Expires") == [str(LINK_S)] or "Expires" in query
        content = requests.get(each["url"], timeout=30).content
        assert len(content) == each["bytes"]
        assert each["sha256"] in ("", hashlib.sha256(content).hexdigest())
        named = service.get(f"/jobs/{job_id}/result/{each['name']}", allow_redirects=False)
        assert (named.status_code, named.headers["Cache-Control"]) == (307, "no-store")
        assert urlsplit(named.headers["Location"])[:3] == urlsplit(each["url"])[:3]
    with Client(service.url, "a-key-that-the-store-does-not-get") as client:
        fetch(client, job_id, tmp_path / "out")
    for name, rows in TILES.items():
        alone = service.post("/predict?output=laz", data=clouds.laz(rows)).content
        assert (tmp_path / "out" / name).read_bytes() == alone
    assert (tmp_path / "out/survey.vpc").is_file()
    assert requests.delete(f"{service.url}/jobs/{job_id}", timeout=30).status_code == 204
    until(stored, lambda left: not left)


def test_a_bucket_that_is_not_there_fails_the_job_before_anything_is_labelled(service: Server, tmp_path: Path):
    with Server(tmp_path / "stderr.log", jobs_dir=tmp_path / "jobs", jobs_store="s3://nothing") as other:
        other.wait_ready()
        job = ended(other, uploaded(other, {"a.laz": clouds.laz(slice(300))}).json()["id"])
        assert (job["state"], job["tiles"]["done"]) == ("failed", 0)
        assert "s3://nothing" in job["problem"]
        assert other.get(f"/jobs/{job['id']}/result").status_code == 404


def test_a_store_has_to_be_one(tmp_path: Path):
    with Server(tmp_path / "stderr.log", jobs_dir=tmp_path / "jobs", jobs_store="https://example.com/") as service:
        assert service.process.wait(60) == 1
    assert "such as s3://bucket/jobs/" in (tmp_path / "stderr.log").read_text()
