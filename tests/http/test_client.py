"""The Python client and ``pointserve predict --url``, against the service and against servers that misbehave."""

import email.utils
import json
import os
import re
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import laspy
import numpy as np
import pytest

from app.cli.waits import warn_once
from app.client.client import Client
from app.client.transport import FIRST_CONTACT_S, retry_after_s
from app.errors import BadCloud, BadRequest, Busy, NotFound, NotReady, TooLarge
from app.sample.tile import las_bytes, make_tile
from tests.http import clouds
from tests.http.server import MODEL, ROOT, Server, free_port

TABLE = clouds.table()
GOOD = {
    "Content-Type": "application/json",
    "X-Pointserve-Model": "some%20model",
    "X-Pointserve-Points": "2",
    "X-Pointserve-Passes": "1/3",
    "X-Pointserve-Warnings": '["no colours"]',
    "X-Request-Id": "abc",
    "Server-Timing": "decode;dur=1.5, network;dur=20.0",
}


class Scripted(ThreadingHTTPServer):
    """Answers one request after the other as ``script`` says: status, headers, body; None hangs up."""

    daemon_threads = True

    def __init__(self, script):
        scripted, self.seen = self, []
        answers = iter(script)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                scripted.seen.append((self.path, dict(self.headers), body))
                answer = next(answers)
                self.close_connection = True
                if answer is None:
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


def problem(status: int, detail: str, **headers: str) -> tuple:
    return (
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        json.dumps({"detail": detail}).encode(),
    )


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.url)


def test_files_are_classified(client: Client, tmp_path):
    path = tmp_path / "scan & more.ply"
    path.write_bytes(clouds.ply())
    answer = client.predict(path, fields="confidence")
    assert answer.json()["labels"] == clouds.LABELS.tolist()
    assert (answer.model, answer.num_points, answer.passes) == (MODEL.name, len(TABLE), 1)
    assert {"decode", "network", "encode"} <= set(answer.timings_ms)
    assert answer.request_id


def test_the_answer_goes_to_a_file_and_progress_is_told(client: Client, tmp_path):
    told = []
    saved = client.predict(
        clouds.laz(), output="laz", to=tmp_path / "new" / "out.laz", on_sent=lambda *sent: told.append(sent)
    )
    assert saved.content == b""
    assert len(laspy.read(tmp_path / "new" / "out.laz")) == len(TABLE) == saved.num_points
    assert told[-1] == (len(clouds.laz()), len(clouds.laz()))
    assert os.listdir(tmp_path / "new") == ["out.laz"]


def test_arrays_are_segmented(client: Client):
    by_columns = client.segment(TABLE, columns=",".join(clouds.FIELDS))
    np.testing.assert_array_equal(by_columns["labels"], clouds.LABELS)
    assert by_columns.prediction.model == MODEL.name
    arrays = {"coord": TABLE[:, :3], "color": TABLE[:, 3:6].astype(np.uint8), "normal": TABLE[:, 6:]}
    by_name = client.segment(arrays, ("probabilities", "entropy"))
    np.testing.assert_array_equal(by_name["labels"], clouds.LABELS)
    assert by_name["probabilities"].shape == (len(TABLE), clouds.CLASSES)
    assert set(by_name) == {"labels", "probabilities", "entropy"}


def test_models_and_readiness(client: Client):
    client.wait_ready(1)
    assert [model["name"] for model in client.models()] == [MODEL.name]
    with pytest.raises(NotFound, match="nobody"):
        client.unload("nobody")


@pytest.mark.parametrize(
    ("cloud", "options", "kind"),
    [
        (b"ply\nnonsense", {}, BadCloud),
        (clouds.npy(), {"model": "nobody"}, NotFound),
        (clouds.npy(), {"mode": "swift"}, BadRequest),
        (bytes(32 << 20), {}, TooLarge),
    ],
)
def test_problems_are_those_of_the_server(client: Client, cloud, options, kind):
    with pytest.raises(kind) as caught:
        client.predict(cloud, **options)
    assert caught.value.detail


def test_a_crowd_is_answered_in_the_end(server: Server):
    waits = []
    client = Client(server.url, on_wait=lambda problem, wait_s: waits.append(problem.status))
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: client.segment(TABLE, columns=",".join(clouds.FIELDS)), range(48)))
    assert all((answer["labels"] == clouds.LABELS).all() for answer in answers)
    assert set(waits) <= {429}


def test_it_comes_back_when_it_is_told_to():
    script = [
        problem(429, "full", Retry_After="1"),
        problem(503, "starting", Retry_After="0"),
        None,
        (200, GOOD, b"{}"),
    ]
    waits = []
    with Scripted(script) as server:
        begin_s = time.monotonic()
        answer = Client(server.url, "secret", on_wait=lambda *told: waits.append(told)).predict(b"cloud", seed=3)
    assert time.monotonic() - begin_s >= 1
    assert [told.status for told, _ in waits] == [429, 503, 503]
    assert [wait_s for _, wait_s in waits][:2] == [1, 0]
    assert len({headers["X-Request-Id"] for _, headers, _ in server.seen}) == 1
    assert {headers["Authorization"] for _, headers, _ in server.seen} == {"Bearer secret"}
    assert {body for _, _, body in server.seen} == {b"cloud"}
    assert {path for path, _, _ in server.seen} == {"/predict?seed=3&output=json"}
    assert (answer.model, answer.passes_wanted, answer.warnings) == ("some model", 3, ["no colours"])
    assert answer.timings_ms == {"decode": 1.5, "network": 20.0}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(429, "full", Retry_After="3600"), Busy),
        (problem(500, "a bug"), None),
        (problem(504, "late"), None),
        ((502, {"Content-Type": "text/html"}, b"<html>"), None),
    ],
)
def test_it_does_not_come_back(answer, kind):
    with Scripted([answer]) as server, pytest.raises(kind or Exception) as caught:
        Client(server.url, patience_s=5).predict(b"cloud")
    assert caught.value.status == answer[0]
    assert len(server.seen) == 1


def test_an_answer_that_breaks_off_is_asked_for_again_and_never_kept(tmp_path):
    half = (200, {**GOOD, "Content-Length": "100"}, b"half")
    with Scripted([half, (200, GOOD, b"whole"), half]) as server:
        client = Client(server.url)
        client.predict(b"cloud", to=tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"whole"
        with pytest.raises(NotReady, match=r"missing|IncompleteRead"):
            Client(server.url, patience_s=0).predict(b"cloud", to=tmp_path / "other")
    assert os.listdir(tmp_path) == ["out"]


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_server(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with Scripted([(200, GOOD, b"{}")]) as server, pytest.raises(OSError, match="file"):
        Client(server.url).predict(b"cloud", to=tmp_path / "file" / "out")


@pytest.mark.parametrize(
    "url",
    ["localhost:5001", "ftp://x", "http://", "", "http://x:5999x", "http://x:70000", "http://[x", "http://x y"],
)
def test_addresses_that_are_none(url):
    with pytest.raises(BadRequest, match="address"):
        Client(url)


def test_warnings_of_points_in_memory_are_returned_and_given(client: Client):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = client.segment(TABLE[:, :3])
    assert any("no colour" in text for text in found.warnings)
    assert found.warnings == [str(warning.message) for warning in caught if warning.category is UserWarning]


def test_a_server_that_was_never_there_is_not_awaited_for_long():
    told = []
    with pytest.raises(NotReady, match="Is the service running"):
        Client(f"http://127.0.0.1:{free_port()}", on_wait=lambda problem, wait_s: told.append(wait_s)).models()
    assert 1 <= sum(told) < FIRST_CONTACT_S


def test_a_server_that_went_away_is_awaited():
    with Scripted([(200, GOOD, b"{}")]) as server:
        told = []
        client = Client(server.url, patience_s=9.0, on_wait=lambda problem, wait_s: told.append(wait_s))
        client.predict(b"cloud")
    with pytest.raises(NotReady, match="not reached"):
        client.predict(b"cloud")
    assert sum(told) > FIRST_CONTACT_S / 2


def test_nobody_there():
    with pytest.raises(NotReady, match="Nothing answers"):
        Client(f"http://127.0.0.1:{free_port()}", patience_s=0.2).models()
    with pytest.raises(BadRequest, match="found"):
        Client("http://nowhere.invalid").models()


def test_tls_to_a_plain_server_ends_at_once_and_names_the_remedy():
    waits = []
    with Scripted([]) as server, pytest.raises(BadRequest) as caught:
        Client(server.url.replace("http", "https"), on_wait=lambda *told: waits.append(told)).models()
    assert "does not speak TLS" in caught.value.detail
    assert f"ask {server.url}." in caught.value.detail
    assert not waits


@pytest.mark.parametrize("words", [["predict", "-o", "out.laz", "--url"], ["bench"]])
def test_commands_say_at_once_that_nobody_is_there(words, tmp_path):
    (tmp_path / "tile.laz").write_bytes(b"cloud")
    url = f"http://127.0.0.1:{free_port()}"
    clouds_given = [tmp_path / "tile.laz"] if "predict" in words else []
    arguments = [sys.executable, "-m", "app.cli", words[0], *map(str, clouds_given), *words[1:], url]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            if line.startswith("Warning: "):
                break
        assert running.poll() is None
        running.terminate()
    assert line.startswith(f"Warning: {url}: Nothing answers at {url}: Connection refused.")
    assert re.search(r" It is asked again until \d\d:\d\d:\d\d\.$", line)


def test_an_attempt_that_failed_is_told_once(capsys):
    on_wait = warn_once("http://x", 60.0)
    for _ in range(3):
        on_wait(NotReady("Not there."), 0.2)
    assert capsys.readouterr().err.count("Not there.") == 1


def test_retry_after():
    assert retry_after_s("7") == 7
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None
    assert retry_after_s("-3") == 0
    assert 50 < retry_after_s(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "app.cli", "predict", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def test_the_command_asks_a_server(server: Server, tmp_path):
    (tmp_path / "tile.laz").write_bytes(clouds.laz())
    (tmp_path / "scan.ply").write_bytes(clouds.ply())
    done = command(tmp_path / "tile.laz", tmp_path / "scan.ply", "-o", tmp_path / "out", "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert f"{len(TABLE):,} points by {MODEL.name}" in done.stdout
    assert sorted(os.listdir(tmp_path / "out")) == ["scan.ply", "tile.laz"]
    assert len(laspy.read(tmp_path / "out" / "tile.laz")) == len(TABLE)


def test_the_command_sends_a_pointcept_scene_as_one_cloud(server: Server, tmp_path):
    scene = tmp_path / "scene0"
    scene.mkdir()
    xyz = np.random.default_rng(0).uniform(0, 3, (200, 3)).astype(np.float32)
    np.save(scene / "coord.npy", xyz)
    np.save(scene / "color.npy", np.zeros((200, 3), np.uint8))
    done = command(scene, "-o", tmp_path / "out", "--url", server.url)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out/scene0.npz")["xyz"], xyz)


def test_the_command_sends_the_key_and_tells_what_the_server_said(tmp_path):
    (tmp_path / "tile.laz").write_bytes(b"cloud")
    with Scripted([problem(401, "This server needs a key.")]) as server:
        done = command(tmp_path / "tile.laz", "-o", tmp_path / "out.laz", "--url", server.url, POINTSERVE_KEY="secret")
    assert done.returncode == 1
    assert "needs a key" in done.stderr
    assert "Traceback" not in done.stderr
    assert server.seen[0][1]["Authorization"] == "Bearer secret"


def test_options_for_computing_here_do_not_go_with_a_server(tmp_path):
    (tmp_path / "tile.laz").write_bytes(b"cloud")
    done = command(tmp_path / "tile.laz", "-o", tmp_path / "out.laz", "--url", "http://x", "--device", "cpu")
    assert done.returncode == 2
    words = " ".join(re.findall(r"[\w.:-]+", done.stderr))
    assert "computes as it is set: leave --device out." in words


def test_the_command_goes_on_after_a_bad_file_and_scores_what_a_server_answers(tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    tile = las_bytes(make_tile("town", size_m=30, density=4))
    (folder / "a.laz").write_bytes(tile)
    (folder / "b.laz").write_bytes(tile[:3000])
    (folder / "c.laz").write_bytes(tile)
    with Server(tmp_path / "log", models="") as server:
        server.wait_ready()
        done = command(folder, "-o", tmp_path / "out", "--url", server.url, "--score")
        alone = command(folder / "a.laz", "--url", server.url, "--score")
    assert done.returncode == 1
    assert "2 of 3 clouds were classified." in done.stdout
    assert f"failed: {folder / 'b.laz'}: " in done.stdout
    assert sorted(os.listdir(tmp_path / "out")) == ["a.laz", "c.laz"]
    assert "2 files, all points pooled" in done.stdout
    assert alone.returncode == 0, alone.stderr
    truth, found = (np.asarray(laspy.read(path).classification) for path in (folder / "a.laz", tmp_path / "out/a.laz"))
    counted = ~np.isin(truth, (0, 1, 7, 9, 12, 18))
    ground = truth[counted] == 2, found[counted] == 2
    iou = (ground[0] & ground[1]).sum() / (ground[0] | ground[1]).sum()
    for printed in (done.stdout, alone.stdout):
        assert re.search(rf"│ +2 │ ground +│ +{ground[0].sum():,} │ +{iou:.4f} │", printed), printed
