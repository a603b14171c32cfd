"""``pointserve batch --url``, against a real server."""

import signal
import subprocess
import time
from pathlib import Path
from threading import Event

import pytest
from pointserve_client import Client, Forbidden

from app.cli import survey_job
from app.cli.survey_fetch import fetch
from app.errors import Problem
from app.survey.ticket import Ticket
from tests.cli.cli_samples import EXPERIMENT, ROOT, command, environment
from tests.http import clouds
from tests.http.server import Server
from tests.survey.survey_files import web_server

TILES = {"a.laz": slice(0, 700), "north/a.laz": slice(700, 1400)}
END_S = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    with web_server(folder, Event()) as web:
        (folder / "web").mkdir()
        with Server(folder / "stderr.log", jobs_dir=folder / "jobs", jobs_urls=f"{web.url}open/") as started:
            started.web = web
            started.folder = folder
            yield started.wait_ready()


@pytest.fixture
def tiles(tmp_path):
    folder = tmp_path / "in"
    write(folder, TILES)
    return folder


def write(folder: Path, tiles):
    for name, rows in tiles.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clouds.laz(rows))


def ids(server):
    return [job["id"] for job in server.get("/jobs").json()["jobs"]]


def answers(out: Path):
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


OWN = {"survey-job.json", "survey.lock"}
BESIDE = {"report.html", "survey.vpc"}


def test_a_survey_goes_to_a_server_and_its_answers_are_those_of_a_local_run(server, tiles, tmp_path, pointserve):
    out = tmp_path / "out"
    done = pointserve("batch", tiles, "-o", out, "--url", server.url, "--buffer", 0, "--output", "las")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 tiles are labelled." in done.stdout
    assert answers(out) == {"a.las", "north/a.las"} | OWN | BESIDE
    options = ("--buffer", 0, "--output", "las", "--models", EXPERIMENT, "--device", "cpu", "--threads", 1)
    assert pointserve("batch", tiles, "-o", tmp_path / "local", *options).returncode == 0
    for name in ("a.las", "north/a.las"):
        assert (out / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    first = Ticket.read(out)
    assert first.id not in ids(server)  # everything is here, so nothing stays there
    before = (out / "a.las").stat().st_mtime_ns
    (out / "north/a.las").unlink()
    again = pointserve("batch", tiles, "-o", out, "--url", server.url, "--buffer", 0, "--output", "las")
    assert (again.returncode, "north/a.las: not there any more" in again.stderr) == (0, True)
    assert Ticket.read(out).id not in {first.id, *ids(server)}
    assert (out / "a.las").stat().st_mtime_ns == before
    assert (out / "north/a.las").exists()
    other = pointserve("batch", tmp_path, "-o", tmp_path / "other", "--url", server.url, "--buffer", 0)
    assert (other.returncode, "2 of 2 tiles" in other.stdout) == (0, True)  # answers of surveys are no sources


def test_what_fails_is_named_and_tried_again_when_asked(server, tiles, tmp_path, pointserve):
    out = tmp_path / "out"
    (tiles / "bad.laz").write_bytes(b"LASF" + bytes(500))
    (tiles / "empty.laz").write_bytes(b"")
    options = ("-o", out, "--url", server.url, "--buffer", 0)
    done = pointserve("batch", tiles, *options)
    assert done.returncode == 1
    assert "2 of 4 tiles are labelled." in done.stdout
    assert "failed: bad.laz: " in done.stdout
    assert "failed: empty.laz: The file is empty" in done.stdout
    before = ids(server)
    assert Ticket.read(out).id in before  # it can be tried again
    again = pointserve("batch", tiles, *options)
    assert (again.returncode, again.stdout) == (1, done.stdout)
    retried = pointserve("batch", tiles, *options, "--retry-failed")
    assert (retried.returncode, ids(server)) == (1, before)
    attempts = [each["attempts"] for each in server.get(f"/jobs/{Ticket.read(out).id}").json()["files"]]
    assert sorted(attempts) == [1, 1, 2]
    (tiles / "empty.laz").unlink()
    (tiles / "bad.laz").write_bytes(clouds.laz(slice(300)))
    mended = pointserve("batch", tiles, *options)
    assert (mended.returncode, "3 of 3 tiles" in mended.stdout) == (0, True)
    assert len(ids(server)) == len(before) - 1


def test_urls_are_read_by_the_server_if_it_allows_them(server, tmp_path, pointserve):
    folder = server.folder / "open"
    write(folder, TILES)
    done = pointserve("batch", f"{server.web.url}open/", "-o", tmp_path / "out", "--url", server.url, "--buffer", 0)
    assert done.returncode == 0, done.stderr
    assert answers(tmp_path / "out") == {*TILES} | OWN | BESIDE
    refused = pointserve("batch", f"{server.web.url}web/", "-o", tmp_path / "no", "--url", server.url)
    assert (refused.returncode, "POINTSERVE_JOBS_URLS" in refused.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_outlasts_the_command_and_is_waited_for_by_the_next(server, tmp_path, pointserve, number):
    source, out = tmp_path / "in", tmp_path / "out"
    write(source, {f"{each:02}.laz": slice(None) for each in range(20)})
    options = ("batch", source, "-o", out, "--url", server.url, "--buffer", 0)
    process = subprocess.Popen(command(*options), env=environment(), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end_s = time.monotonic() + END_S
    while not (out / "survey-job.json").exists() or not Ticket.read(out).id:
        assert time.monotonic() < end_s
        time.sleep(0.02)
    process.send_signal(signal.SIGSTOP)  # so that it has not ended before the next one looks
    second = pointserve(*options)
    assert (second.returncode, f"process {process.pid}" in second.stderr) == (1, True)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=END_S)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    ticket = Ticket.read(out)
    assert f"The job {ticket.id} is with {server.url}" in errors
    other = pointserve(*options, "--output", "las")
    assert (other.returncode, "--force" in other.stderr) == (1, True)
    done = pointserve(*options)
    assert done.returncode == 0, done.stderr
    assert "20 of 20 tiles are labelled." in done.stdout
    assert (Ticket.read(out).id, Ticket.read(out).is_over) == (ticket.id, True)


def interrupted(*given, **asked):
    signal.raise_signal(signal.SIGINT)


def test_a_request_whose_answer_was_lost_makes_no_second_job(server, tiles, tmp_path, pointserve, monkeypatch):
    out = tmp_path / "out"
    options = ("batch", tiles, "-o", out, "--url", server.url, "--buffer", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Client, "wait_job", interrupted)
        assert pointserve(*options).returncode == 130
    ticket = Ticket.read(out)
    assert ticket.id in ids(server)
    Ticket(ticket.url, ticket.asked, ticket.key).write(out)  # as if it had ended before the answer came
    assert pointserve(*options).returncode == 0
    assert Ticket.read(out).id == ticket.id
    assert ticket.id not in ids(server)


@pytest.mark.parametrize("place", ["fetched", "noted", "removed"])
def test_a_job_is_removed_whenever_the_command_was_ended(server, tiles, tmp_path, pointserve, monkeypatch, place):
    out = tmp_path / "out"
    options = ("batch", tiles, "-o", out, "--url", server.url, "--buffer", 0)
    remove = Client.remove_job

    def removed(client, job_id):
        remove(client, job_id)
        interrupted()

    with monkeypatch.context() as patch:
        if place == "fetched":
            patch.setattr(survey_job, "_num_failed", interrupted)
        else:
            patch.setattr(Client, "remove_job", interrupted if place == "noted" else removed)
        assert pointserve(*options).returncode == 130
    ticket = Ticket.read(out)
    assert ticket.is_over == (place != "fetched")
    assert (ticket.id in ids(server)) == (place != "removed")
    assert {*TILES} <= answers(out)
    done = pointserve(*options)
    assert done.returncode == 0, done.stderr
    assert "again" not in done.stderr
    assert (Ticket.read(out).id, Ticket.read(out).is_over) == (ticket.id, True)
    assert ticket.id not in ids(server)


def test_a_job_that_cannot_be_removed_is_told_and_its_answers_are_there(
    server, tiles, tmp_path, pointserve, monkeypatch
):
    out = tmp_path / "out"

    def refused(client, job_id):
        raise Forbidden("Not with this key.")

    monkeypatch.setattr(Client, "remove_job", refused)
    done = pointserve("batch", tiles, "-o", out, "--url", server.url, "--buffer", 0)
    assert (done.returncode, "stays on the server until it expires: Not with this key." in done.stderr) == (0, True)
    assert {*TILES} <= answers(out)


def test_a_job_that_is_gone_is_submitted_again_only_if_its_answers_lack(server, tiles, tmp_path, pointserve):
    out = tmp_path / "out"
    options = ("batch", tiles, "-o", out, "--url", server.url, "--buffer", 0)
    assert pointserve(*options).returncode == 0
    ticket = Ticket.read(out)
    kept = pointserve(*options)
    assert (kept.returncode, "were labelled before" in kept.stdout, Ticket.read(out)) == (0, True, ticket)
    Ticket(ticket.url, ticket.asked, ticket.key, ticket.id).write(out)  # as if nothing had been fetched
    done = pointserve(*options)
    assert (done.returncode, "is not there any more" in done.stderr) == (0, True)
    assert Ticket.read(out).id != ticket.id
    forced = pointserve(*options, "--force")
    assert (forced.returncode, Ticket.read(out).id != ticket.id) == (0, True)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--threads", 1), "--threads"),
        (("--ray", "auto"), "--ray"),
        (("--dry-run",), "--dry-run"),
        (("--buffer-only", "a*"), "--buffer-only"),
        (("--name", "{stem}_x{suffix}"), "--name"),
        (("--manifest", "folder"), "--manifest"),
        (("-o", "s3://bucket/out"), "-o s3://bucket/out"),
    ],
)
def test_options_that_a_server_cannot_follow_are_refused(tiles, tmp_path, pointserve, options, word):
    done = pointserve("batch", tiles, "-o", tmp_path / "out", "--url", "http://127.0.0.1:1", *options)
    assert (done.returncode, word in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_what_cannot_go_to_a_server_is_said_before_anything_is_sent(tiles, tmp_path, pointserve):
    out = tmp_path / "out"
    options = ("-o", out, "--url", "http://127.0.0.1:1")
    mixed = pointserve("batch", tiles, "https://example.com/a.laz", *options)
    assert (mixed.returncode, "not both" in mixed.stderr) == (1, True)
    (tmp_path / "empty.laz").touch()
    assert "is empty" in pointserve("batch", tmp_path / "empty.laz", *options).stderr
    unreached = pointserve("batch", tiles, *options)
    assert (unreached.returncode, "Nothing answers" in unreached.stderr) == (1, True)
    (out / "survey-job.json").unlink()
    (out / "survey.db").touch()
    assert "labelled by this machine" in pointserve("batch", tiles, *options).stderr


class Stranger:
    """A server that answers as it likes."""

    def __init__(self, **answer):
        self.answer = {"name": "a.laz", "bytes": 10, "sha256": "", "url": "files/1"} | answer

    def job_answers(self, job_id):
        return {"files": [self.answer]}

    def fetch_answer(self, job_id, url, to, on_received):
        for received in range(1000):
            on_received(received, None)
            assert received <= self.answer["bytes"]


NOWHERE = [
    "../a.laz",
    "/tmp/a.laz",
    ".hidden",
    "",
    "survey-job.json",
    "./survey.db",
    "survey.lock",
    "a\0.laz",
    "\x1b[2J",
    "\ud800.laz",
]


@pytest.mark.parametrize("name", NOWHERE)
def test_a_server_cannot_write_elsewhere(tmp_path, name):
    with pytest.raises(Problem, match="no place in the folder"):
        fetch(Stranger(name=name), "id", tmp_path)


def test_no_more_is_taken_from_a_server_than_it_says(tmp_path):
    with pytest.raises(Problem, match="did not come as the server has it"):
        fetch(Stranger(), "id", tmp_path)


@pytest.mark.parametrize("answer", [{"name": 5}, {"bytes": "many"}, {"sha256": None}])
def test_a_list_of_answers_that_is_none_is_a_problem(tmp_path, answer):
    with pytest.raises(Problem, match="no list of answers"):
        fetch(Stranger(**answer), "id", tmp_path)
