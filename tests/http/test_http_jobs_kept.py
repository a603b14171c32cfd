"""What is kept of jobs when connections break, requests come twice, the disk space is used up or time is over."""

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import laspy
import numpy as np
import pytest
import requests

from tests.http import clouds
from tests.http.jobs import ended, until, uploaded
from tests.http.server import Server, raw_exchange

BOUNDARY = "b0undary"
HEAVY_BYTES = 500  # of a point that has as many bytes beside its coordinates


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jobs")
    with Server(folder / "stderr.log", jobs_dir=folder / "jobs", jobs_roots=folder) as started:
        yield started.wait_ready()


def folders(service: Server) -> list[str]:
    """What is in the folder of jobs, also what is being received."""
    return [path.name for path in Path(service.environment["POINTSERVE_JOBS_DIR"]).iterdir() if path.name != ".lock"]


def heavy(num_points: int) -> bytes:
    """A LAS file of that many times ``HEAVY_BYTES``; from 16 KiB on the service receives it in a thread."""
    data = laspy.LasData(laspy.LasHeader(version="1.4", point_format=7))
    data.xyz = np.random.default_rng(0).uniform(0, 20, (num_points, 3))
    for number in range(HEAVY_BYTES // 24):
        data.add_extra_dim(laspy.ExtraBytesParams(f"extra_{number}", "3f8"))
    file = io.BytesIO()
    data.write(file)
    return file.getvalue()


def form(data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.laz"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def request_of(service: Server, body: bytes, key: str) -> bytes:
    lines = [
        "POST /jobs?buffer=0 HTTP/1.1",
        f"Host: 127.0.0.1:{service.port}",
        f"Idempotency-Key: {key}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def post(service: Server, body: bytes, key: str, query: str = "?buffer=0") -> requests.Response:
    headers = {"Idempotency-Key": key, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return service.post(f"/jobs{query}", data=body, headers=headers)


def test_an_upload_that_breaks_off_leaves_nothing_and_comes_again_as_one_job(service: Server):
    body, key = form(heavy(400)), '"broken"'
    before, jobs = folders(service), service.get("/jobs").json()
    for cut in (len(body) // 2, 10):
        with service.connect() as connection:
            connection.sendall(request_of(service, body, key)[:-cut])
            until(lambda: folders(service), lambda now: len(now) == len(before) + 1)
        until(lambda: folders(service), lambda now: now == before)
    assert service.get("/jobs").json() == jobs
    made = until(lambda: post(service, body, key), lambda answer: answer.status_code != 409)
    assert made.status_code == 201
    assert ended(service, made.json()["id"])["tiles"]["done"] == 1
    assert len(folders(service)) == len(before) + 1


def test_a_request_whose_answer_was_lost_comes_again_as_the_same_job(service: Server):
    body, key = form(heavy(400)), '"lost"'
    before = len(folders(service))
    with service.connect() as connection:
        connection.sendall(request_of(service, body, key))
        until(lambda: len(folders(service)), lambda now: now == before + 1)
        until(lambda: post(service, body, key).status_code, lambda status: status == 201)
    again = [post(service, body, key) for _ in range(2)]
    again.append(post(service, body, "lost"))  # the quotation marks are those of the header
    ids = {answer.json()["id"] for answer in again}
    assert [answer.status_code for answer in again] == [201] * 3
    assert len(ids) == 1
    assert again[0].headers["Location"] == f"/jobs/{ids.pop()}"
    assert len(folders(service)) == before + 1


def test_what_is_known_is_answered_before_its_body(service: Server):
    body, key = form(bytes(8 << 20)), '"early"'
    job_id = post(service, body, key).json()["id"]
    with service.connect() as connection:
        status, headers, _ = raw_exchange(connection, request_of(service, body, key)[: 1 << 16])
    assert (status, headers["location"]) == (201, f"/jobs/{job_id}")
    assert post(service, body, key).json()["id"] == job_id


def test_a_key_is_for_one_request(service: Server):
    body, key = form(heavy(400)), '"one"'
    made = post(service, body, key)
    assert made.status_code == 201
    for other in (post(service, body, key, "?buffer=1"), post(service, body + b" ", key)):
        assert (other.status_code, other.json()["title"]) == (422, "Idempotency-Key used before")
        assert made.json()["id"] in other.json()["detail"]
    requests.delete(f"{service.url}/jobs/{made.json()['id']}", timeout=30)
    assert post(service, body, key, "?buffer=1").status_code == 201


def test_a_request_that_is_still_received_is_a_conflict(service: Server):
    body, key = form(heavy(400)), '"slow"'
    before = {*folders(service)}  # of other tests; some may be on their way out
    with service.connect() as connection:
        connection.sendall(request_of(service, body, key)[:-10])
        until(lambda: {*folders(service)} - before, bool)
        answer = post(service, body, key)
        assert (answer.status_code, answer.json()["title"]) == (409, "Request under way")
        assert int(answer.headers["Retry-After"]) > 0
        status, _, _ = raw_exchange(connection, body[-10:])
    assert status == 201


@pytest.mark.parametrize("key", ['""', "x" * 300, 'a"b', "ü"])
def test_keys_that_are_none_are_refused(service: Server, key: str):
    answer = post(service, form(b"x"), key)
    assert (answer.status_code, "Idempotency-Key" in answer.json()["detail"]) == (400, True)


def test_a_running_job_that_takes_all_disk_space_ends_and_keeps_what_is_done(tmp_path: Path):
    source = tmp_path / "tiles"
    source.mkdir()
    for number in range(60):
        (source / f"{number:02}.las").write_bytes(heavy(400))
    settings = {"jobs_dir": tmp_path / "jobs", "jobs_roots": source, "jobs_disk_mib": 1}
    with Server(tmp_path / "stderr.log", **settings) as service:
        service.wait_ready()
        other = uploaded(service, {"a.laz": clouds.laz(slice(700))}).json()["id"]
        job_id = service.post("/jobs", json={"sources": [str(source)], "buffer": 0}).json()["id"]
        job = ended(service, job_id)
        assert job["state"] == "failed"
        assert "POINTSERVE_JOBS_DISK_MIB" in job["problem"]
        assert 0 < job["tiles"]["done"] < 60
        assert job["tiles"]["done"] + job["tiles"]["pending"] == 60
        assert ended(service, other)["state"] == "done"
        refused = uploaded(service, {"a.laz": clouds.laz(slice(700))})
        assert (refused.status_code, "POINTSERVE_JOBS_DISK_MIB" in refused.json()["detail"]) == (507, True)
        archive = zipfile.ZipFile(io.BytesIO(service.get(f"/jobs/{job_id}/result").content))
        assert len(archive.namelist()) == job["tiles"]["done"] + 2
        assert requests.delete(f"{service.url}/jobs/{job_id}", timeout=30).status_code == 204
        assert uploaded(service, {"a.laz": clouds.laz(slice(700))}).status_code == 201


def test_a_job_that_expires_while_it_is_downloaded_is_whole_and_then_gone(tmp_path: Path):
    with Server(tmp_path / "stderr.log", jobs_dir=tmp_path / "jobs", jobs_keep_s=4) as service:
        service.wait_ready()
        tiles = {f"{number}.las": heavy(20_000) for number in range(3)}
        job_id = uploaded(service, tiles, params={"buffer": 0}).json()["id"]
        ended(service, job_id)
        with requests.get(f"{service.url}/jobs/{job_id}/result", stream=True, timeout=60) as answer:
            chunks = answer.iter_content(1 << 16)
            got = [next(chunks)]
            until(lambda: service.get(f"/jobs/{job_id}").status_code, lambda status: status == 404)
            time.sleep(1)  # whoever removed it has had its turn
            assert folders(service) == [job_id]
            got += chunks
        archive = zipfile.ZipFile(io.BytesIO(b"".join(got)))
        assert archive.testzip() is None
        assert {*tiles} <= {*archive.namelist()}
        until(lambda: folders(service), lambda now: now == [])


def test_folders_in_names_take_disk_space(service: Server):
    job = post(service, form(b"x").replace(b"a.laz", b"d/" * 400 + b"a.laz"), '"deep"').json()
    assert job["disk_bytes"] > 400 * 4096
    requests.delete(f"{service.url}/jobs/{job['id']}", timeout=30)
    until(lambda: job["id"] in folders(service), lambda is_left: not is_left)
