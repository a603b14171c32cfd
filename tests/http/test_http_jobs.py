"""Jobs over HTTP, against a real server process."""

import hashlib
import io
import json
import os
import signal
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import laspy
import numpy as np
import pytest
import requests

from app.http.keys import hashed
from tests.http import clouds
from tests.http.jobs import TILES, ended, until, uploaded
from tests.http.server import MODEL, Server, descendants


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiles, a link out of it, and beside it a file that is nobody's."""
    folder = tmp_path_factory.mktemp("roots")
    (folder / "open").mkdir()
    for number in range(2):
        (folder / f"open/{number}.laz").write_bytes(clouds.laz(slice(700 * number, 700 * number + 700)))
    (folder / "secret.laz").write_bytes(clouds.laz())
    (folder / "open/linked").mkdir()
    (folder / "open/linked/link.laz").symlink_to(folder / "secret.laz")
    (folder / "open/out").symlink_to(folder)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, roots: Path):
    folder = tmp_path_factory.mktemp("jobs")
    settings = {
        "jobs_dir": folder / "jobs",
        "jobs_roots": roots / "open",
        "jobs_urls": "https://tiles.example.com/open/, http://127.0.0.1:1/open/",
        "jobs_disk_mib": 4,
    }
    with Server(folder / "stderr.log", **settings) as started:
        yield started.wait_ready()


def events(service: Server, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """All of them, until the server ends the answer."""
    answer = service.get(f"/jobs/{job_id}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    parts = [part.split("\n") for part in answer.text.split("\n\n") if part.startswith("event: ")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


def labels(data: bytes) -> np.ndarray:
    return np.asarray(laspy.read(io.BytesIO(data)).classification)


def test_files_that_were_uploaded_come_back_labelled(service: Server):
    answer = uploaded(service, {name: clouds.laz(rows) for name, rows in TILES.items()}, params={"buffer": 0})
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert job["id"] in [each["id"] for each in service.get("/jobs").json()["jobs"]]
    job = ended(service, job["id"])
    assert (job["state"], job["tiles"]["done"], job["points_done"]) == ("done", 2, 1400)
    kept = json.loads((Path(service.environment["POINTSERVE_JOBS_DIR"]) / job["id"] / "job.json").read_text())
    assert job["model"] == kept["model"] == MODEL.name  # though none was asked for
    assert [(each["name"], each["state"], each["points"]) for each in job["files"]] == [
        ("west/a.laz", "done", 700),
        ("b.laz", "done", 700),
    ]
    result = service.get(f"/jobs/{job['id']}/result")
    assert result.headers["Content-Type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(result.content))
    assert archive.testzip() is None
    assert {*archive.namelist()} == {*TILES, "report.html", "survey.vpc"}
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    listed = service.get(f"/jobs/{job['id']}/result", headers={"Accept": "application/json"}).json()["files"]
    assert [each["name"] for each in listed] == archive.namelist()
    for each in listed:
        alone = service.get(urljoin(f"/jobs/{job['id']}/result", each["url"]))
        assert alone.content == archive.read(each["name"])
        assert len(alone.content) == each["bytes"]
        assert each["sha256"] in ("", hashlib.sha256(alone.content).hexdigest())
    assert all(each["sha256"] for each in listed if each["name"] in TILES)
    for name in ("../job.json", "survey.db", "nothing.laz", "..%2Fjob.json"):
        assert service.get(f"/jobs/{job['id']}/result/{name}").status_code == 404
    for name, rows in TILES.items():
        alone = service.post("/predict?output=laz", data=clouds.laz(rows)).content
        np.testing.assert_array_equal(labels(archive.read(name)), labels(alone))
    assert requests.delete(f"{service.url}/jobs/{job['id']}", timeout=30).status_code == 204
    assert service.get(f"/jobs/{job['id']}").status_code == 404
    assert not (Path(service.environment["POINTSERVE_JOBS_DIR"]) / job["id"]).exists()


def test_each_file_says_where_it_is_and_its_answer_is_had_as_the_page_shows_it(service: Server):
    brought = {name: clouds.laz(rows) for name, rows in TILES.items()} | {"bad.laz": b"LASF" + bytes(500)}
    job_id = uploaded(service, brought, params={"buffer": 0, "fields": "confidence"}).json()["id"]
    first, second, bad = ended(service, job_id)["files"]
    las = laspy.read(io.BytesIO(brought["west/a.laz"]))
    np.testing.assert_allclose(first["bounds"], [*las.header.mins, *las.header.maxs])
    assert bad["bounds"] is None
    rest = service.get(f"/jobs/{job_id}?after={first['number']}").json()
    assert [each["name"] for each in rest["files"]] == ["b.laz", "bad.laz"]
    assert service.get(f"/jobs/{job_id}?after=-1").status_code == 400
    assert (first["answer"], second["answer"], bad["answer"]) == ("west/a.laz", "b.laz", "")
    path = f"/jobs/{job_id}/result/{second['answer']}"
    answer = service.get(path)
    view = service.get(f"{path}?output=view")
    assert int(view.headers["Content-Length"]) == len(view.content)
    header = view_header(view.content)
    counts = {each["id"]: each["count"] for each in header["classes"] if each["count"]}
    codes, numbers = np.unique(labels(answer.content), return_counts=True)
    assert counts == dict(zip(codes.tolist(), numbers.tolist(), strict=True))
    assert header["reference"] is None  # the file's own classes were overwritten
    assert {"confidence", "label"} <= {column["name"] for column in header["columns"]}
    assert service.get(f"{path}?output=laz").status_code == 400
    assert service.get(f"/jobs/{job_id}/result/report.html?output=view").status_code == 415


@pytest.mark.parametrize("output", ["las", "ply", "pcd", "csv"])
def test_an_answer_is_shown_with_the_labels_that_it_holds(service: Server, output: str):
    answer = service.post(f"/jobs?filename=tile.laz&output={output}", data=clouds.laz(TILES["b.laz"]))
    job = ended(service, answer.json()["id"])
    view = service.get(f"/jobs/{job['id']}/result/{job['files'][0]['answer']}?output=view")
    if output == "csv":
        assert (view.status_code, "csv" in view.json()["detail"]) == (415, True)
        return
    alone = view_header(service.post("/predict?output=view", data=clouds.laz(TILES["b.laz"])).content)
    header = view_header(view.content)
    assert header["classes"] == alone["classes"]
    assert (header["model"], header["num_points"]) == (alone["model"], 700)


def test_an_answer_is_shown_with_codes_of_the_request_and_with_what_the_file_keeps(service: Server):
    model = service.get("/models").json()["models"][0]["classes"]
    classes = ",".join(f"{each['id']}:{64 + each['id']}" for each in model)
    query = {"classes": classes, "preserve": "9", "filename": "tile.laz"}
    job = ended(service, service.post("/jobs", params=query, data=clouds.laz()).json()["id"])
    name = job["files"][0]["answer"]
    codes, counts = np.unique(labels(service.get(f"/jobs/{job['id']}/result/{name}").content), return_counts=True)
    header = view_header(service.get(f"/jobs/{job['id']}/result/{name}?output=view").content)
    shown = {each["asprs"]: each["count"] for each in header["classes"] if each["count"]}
    assert shown == dict(zip(codes.tolist(), counts.tolist(), strict=True))
    assert max(shown) >= 64
    alone = service.post("/predict", params=query | {"output": "view"}, data=clouds.laz())
    assert header["refined"] == view_header(alone.content)["refined"]
    assert [each["step"] for each in header["refined"]] == ["classes", "kept"]


def view_header(data: bytes) -> dict[str, Any]:
    return json.loads(data[12 : 12 + int.from_bytes(data[8:12], "little")])


def test_one_file_comes_back_as_it_is(service: Server):
    answer = service.post("/jobs?filename=tile.laz&output=ply", data=clouds.laz(TILES["b.laz"]))
    job = ended(service, answer.json()["id"])
    result = service.get(f"/jobs/{job['id']}/result")
    assert result.content.startswith(b"ply\n")
    assert "tile.ply" in result.headers["Content-Disposition"]


def test_sources_below_the_roots_are_labelled(service: Server, roots: Path):
    answer = service.post("/jobs", json={"sources": [f"{roots}/open/*.laz"], "buffer": 0})
    assert answer.status_code == 201, answer.text
    assert ended(service, answer.json()["id"])["tiles"]["done"] == 2


@pytest.mark.parametrize(
    "source",
    [
        "{roots}/secret.laz",
        "{roots}/open/../secret.laz",
        "{roots}/open/linked/link.laz",
        "{roots}/open/out/*.laz",
        "{roots}/nothing.laz",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://tiles.example.com/open/a.laz",
        "https://tiles.example.com/open/../secret.laz",
        "https://tiles.example.com/open/%2e%2e/secret.laz",
        "https://tiles.example.com/opened/a.laz",
        "https://tiles.example.com@169.254.169.254/open/a.laz",
        "https://tiles.example.com:8443/open/a.laz",
        "https://169.254.169.254/open/a.laz",
        "s3://open/a.laz",
    ],
)
def test_sources_elsewhere_are_refused(service: Server, roots: Path, source: str):
    answer = service.post("/jobs", json={"sources": [source.format(roots=roots)]})
    assert answer.status_code == 403, answer.text
    assert "POINTSERVE_JOBS_ROOTS" in answer.json()["detail"]


def test_a_link_out_of_a_root_ends_its_job(service: Server, roots: Path):
    answer = service.post("/jobs", json={"sources": [f"{roots}/open/linked"]})
    job = ended(service, answer.json()["id"])
    assert job["state"] == "failed"
    assert "link.laz is a link" in job["problem"]
    assert service.get(f"/jobs/{job['id']}/result").status_code == 404


def test_a_store_that_does_not_answer_ends_its_job_and_holds_up_no_other(service: Server):
    lost = service.post("/jobs", json={"sources": ["http://127.0.0.1:1/open/"]}).json()["id"]
    next_one = service.post("/jobs?filename=tile.laz", data=clouds.laz(TILES["b.laz"])).json()["id"]
    assert ended(service, next_one)["state"] == "done"
    job = ended(service, lost)
    assert job["state"] == "failed"
    assert "127.0.0.1:1/open/ cannot be read" in job["problem"]


def answers(service: Server) -> int:
    """Status of GET /jobs; 0 while nobody listens yet."""
    try:
        return service.get("/jobs").status_code
    except requests.ConnectionError:
        return 0


def test_as_many_jobs_wait_as_may(tmp_path: Path):
    with Server(tmp_path / "stderr.log", jobs_dir=tmp_path / "jobs", jobs_waiting=1, models=tmp_path) as service:
        until(lambda: answers(service), lambda status: status == 200)
        assert uploaded(service, {"a.laz": b"anything"}).status_code == 201
        answer = uploaded(service, {"a.laz": b"anything"})
        assert (answer.status_code, "POINTSERVE_JOBS_WAITING" in answer.json()["detail"]) == (429, True)
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"json": {}}, "holds no file"),
        ({"data": b""}, "holds no file"),
        ({"json": {"sources": ["relative.laz"]}}, "absolute paths"),
        ({"json": {"sources": ["@/list.txt"]}}, "no lists"),
        ({"json": {"sources": "a"}}, "list of texts"),
        ({"json": {"sources": ["/a"], "colour": 1}}, "'colour' is no option; options are model, mode, "),
        ({"data": b"x", "params": {"colour": "1"}}, "filename, buffer, sources."),
        ({"files": [("file", ("a.vpc", b"{}"))]}, "virtual point cloud"),
        ({"files": [("cloud", ("a.laz", b"x"))]}, "'cloud'"),
        ({"files": [("file", ("a.laz", b""))]}, "empty"),
        ({"data": b"x", "params": {"buffer": "-1"}}, "buffer"),
    ],
)
def test_what_is_no_job_is_refused_in_words(service: Server, request_: dict[str, Any], words: str):
    answer = service.post("/jobs", **request_)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"model": "nothing"}, 404),
        ({"fields": "instances"}, 400),
        ({"vegetation_heights": "model"}, 400),
        ({"condition": "elsewhere"}, 400),
        ({"max_passes": "1000", "mode": "exact"}, 400),
        ({"within": "1,2,3", "preserve": "6"}, 400),
    ],
)
def test_options_with_which_no_file_can_be_labelled_are_refused_as_by_predict(
    service: Server, roots: Path, options: dict[str, str], status: int
):
    before = service.get("/jobs").json()
    ways = (
        service.post("/predict", params=options, data=clouds.laz(TILES["b.laz"])),
        service.post("/jobs", params=options, data=clouds.laz(TILES["b.laz"])),
        uploaded(service, {"a.laz": clouds.laz(TILES["b.laz"])}, data=options),
        service.post("/jobs", json={"sources": [f"{roots}/open/*.laz"], **options}),
    )
    assert {answer.status_code for answer in ways} == {status}
    assert len({answer.json()["detail"] for answer in ways}) == 1
    assert service.get("/jobs").json() == before


def test_options_that_some_files_can_be_labelled_with_are_accepted(service: Server):
    options = {"smooth": "4", "sieve": "3", "mode": "exact", "max_passes": "1", "fields": "confidence"}
    job = uploaded(service, {"a.laz": clouds.laz(TILES["b.laz"])}, params=options)
    assert job.status_code == 201, job.text
    assert ended(service, job.json()["id"])["state"] == "done"


def test_jobs_take_no_more_disk_than_they_may(service: Server):
    answer = uploaded(service, {"a.laz": bytes(5 << 20)})
    assert answer.status_code == 507
    assert "POINTSERVE_JOBS_DISK_MIB" in answer.json()["detail"]
    left = [path.name for path in Path(service.environment["POINTSERVE_JOBS_DIR"]).iterdir()]
    assert not [name for name in left if name.startswith(".receiving")]


def test_a_file_that_is_no_cloud_does_not_end_the_others(service: Server):
    job = uploaded(service, {"a.laz": clouds.laz(TILES["b.laz"]), "bad.laz": b"LASF" + bytes(500)}).json()
    job = ended(service, job["id"])
    assert (job["state"], job["tiles"]["done"], job["tiles"]["failed"]) == ("done", 1, 1)
    assert [bool(each["error"]) for each in job["files"]] == [False, True]


def test_events_tell_how_a_job_goes(service: Server):
    job_id = uploaded(service, {"a.laz": clouds.laz(TILES["b.laz"]), "bad.laz": b"LASF" + bytes(500)}).json()["id"]
    told = events(service, job_id)
    tiles = {(data["name"], data["state"]) for name, data in told if name == "tile"}
    assert {("a.laz", "done"), ("bad.laz", "failed")} <= tiles
    jobs = [data for name, data in told if name == "job"]
    assert (jobs[-1]["state"], jobs[-1]["tiles"]["done"], jobs[-1]["tiles"]["failed"]) == ("done", 1, 1)
    assert told[-1] == ("end", {"id": job_id, "state": "done"})
    assert [name for name, _ in events(service, job_id)] == ["tile", "tile", "job", "end"]


def test_files_that_failed_are_tried_again(service: Server, roots: Path):
    folder = roots / "open/retried"
    folder.mkdir()
    (folder / "a.laz").write_bytes(clouds.laz(TILES["b.laz"]))
    (folder / "b.laz").write_bytes(b"LASF" + bytes(500))
    job_id = service.post("/jobs", json={"sources": [str(folder)], "buffer": 0}).json()["id"]
    assert ended(service, job_id)["tiles"]["failed"] == 1
    (folder / "b.laz").write_bytes(clouds.laz(TILES["b.laz"]))
    again = service.post(f"/jobs/{job_id}/retry")
    assert (again.status_code, again.json()["state"], again.json()["ended"]) == (200, "waiting", None)
    assert service.post(f"/jobs/{job_id}/retry").status_code == 409
    job = ended(service, job_id)
    assert job["tiles"]["done"] == 2
    assert [each["attempts"] for each in job["files"]] == [1, 2]


def test_a_prediction_does_not_wait_for_a_job(service: Server):
    job = uploaded(service, {f"{number}.laz": clouds.laz() for number in range(20)}).json()
    until(lambda: service.get(f"/jobs/{job['id']}").json(), lambda job: job["tiles"]["done"] > 0)
    assert service.post("/predict", data=clouds.npy()).status_code == 200
    now = service.get(f"/jobs/{job['id']}").json()
    assert now["state"] == "running"
    assert now["tiles"]["pending"] > 5
    assert service.get(f"/jobs/{job['id']}/result").status_code == 409
    assert service.get("/health").json()["queue"]["points"] == 0
    assert requests.delete(f"{service.url}/jobs/{job['id']}", timeout=30).status_code == 204
    folder = Path(service.environment["POINTSERVE_JOBS_DIR"]) / job["id"]
    until(folder.exists, lambda is_there: not is_there)
    assert 'pointserve_jobs{state="running"} 0.0' in service.get("/metrics").text


def test_without_a_folder_there_are_no_jobs_and_a_key_sees_its_own(tmp_path: Path):
    keys = f"ann={hashed('a' * 20)},bob={hashed('b' * 20)}"
    ann, bob = ({"X-API-Key": letter * 20} for letter in "ab")
    with (
        Server(tmp_path / "off.log") as off,
        Server(tmp_path / "on.log", jobs_dir=tmp_path / "jobs", api_keys=keys) as on,
    ):
        off.wait_ready()
        answer = off.get("/jobs")
        assert (answer.status_code, "POINTSERVE_JOBS_DIR" in answer.json()["detail"]) == (404, True)
        on.wait_ready()
        assert on.post("/jobs", data=b"x").status_code == 401
        job_id = on.post("/jobs?filename=a.laz", data=clouds.laz(slice(300)), headers=ann).json()["id"]
        assert on.get(f"/jobs/{job_id}", headers=bob).status_code == 404
        assert on.get("/jobs", headers=bob).json() == {"jobs": []}
        assert ended(on, job_id, headers=ann)["state"] == "done"


def test_a_job_goes_on_after_the_end_of_the_process(tmp_path: Path):
    settings = {"jobs_dir": tmp_path / "jobs", "jobs_keep_s": 20}
    with Server(tmp_path / "stderr.log", **settings) as service:
        service.wait_ready()
        job_id = uploaded(service, {f"{number}.laz": clouds.laz() for number in range(8)}).json()["id"]
        until(lambda: service.get(f"/jobs/{job_id}").json(), lambda job: job["tiles"]["done"] > 1)
        for pid in [service.process.pid, *descendants(service.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        service.process.wait()
        service.process = service.start()
        service.wait_ready()
        job = ended(service, job_id)
        assert (job["state"], job["tiles"]["done"]) == ("done", 8)
        attempts = [each["attempts"] for each in job["files"]]
        assert attempts.count(1) >= 2
        assert max(attempts) <= 2
        assert len(zipfile.ZipFile(io.BytesIO(service.get(f"/jobs/{job_id}/result").content)).namelist()) == 10
        assert service.stop(30) == 0
        service.process = service.start()
        service.wait_ready()
        until(lambda: service.get("/jobs").json(), lambda listed: listed == {"jobs": []})
        until(lambda: [*(tmp_path / "jobs").glob("[0-9a-f]*")], lambda folders: not folders)


@pytest.mark.parametrize("body", ["[" * 60_000, '{"sources": ["/a/\\ud800.laz"]}'], ids=["deep", "no Unicode"])
def test_json_that_cannot_be_read_is_refused(service, body):
    answer = service.post("/jobs", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "not valid JSON" in answer.json()["detail"]) == (400, True)
