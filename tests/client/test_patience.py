"""Both clients against servers that are busy, break off, lie, or are not there."""

import email.utils
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pointserve_client import BadAddress, Busy, Client, Conflict, DeadlineExceeded, NotReady, Problem, Unauthorized
from pointserve_client.waits import FIRST_BACK_OFF_S, FIRST_CONTACT_S, retry_after_s

from tests.client.scripted import CONTENT, GOOD, LABELS, Scripted, problem
from tests.http.server import free_port

pytestmark = pytest.mark.filterwarnings("ignore::pointserve_client.PredictionWarning")


def test_it_comes_back_when_it_is_told_to(kind):
    script = [
        problem(429, "full", Retry_After="1"),
        problem(503, "starting", Retry_After="0"),
        None,
        (200, GOOD, CONTENT),
    ]
    waits = []
    with Scripted(script) as server, kind(server.url, "secret", on_wait=lambda *told: waits.append(told)) as client:
        begin_s = time.monotonic()
        found = client.predict(b"cloud", seed=3)
    assert time.monotonic() - begin_s >= 1
    assert [told.status for told, _ in waits] == [429, 503, 503]
    assert [wait_s for _, wait_s in waits][:2] == [1, FIRST_BACK_OFF_S]
    assert len({headers["X-Request-Id"] for _, headers, _ in server.seen}) == 1
    assert {headers["Authorization"] for _, headers, _ in server.seen} == {"Bearer secret"}
    assert {body for _, _, body in server.seen} == {b"cloud"}
    assert {path for path, _, _ in server.seen} == {"/predict?seed=3&output=safetensors"}
    assert (found.meta.model, found.meta.passes_wanted, found.meta.warnings) == ("some model", 3, ["no colors"])
    assert found.meta.timings_ms == {"decode": 1.5, "network": 20.0}
    np.testing.assert_array_equal(found.labels, LABELS)
    assert (found.classes[0].name, found.classes[0].color, found.ignore_label) == ("ground", (1, 2, 3), -1)


def test_a_job_is_submitted_again_under_the_same_key(kind, tmp_path):
    (tmp_path / "a.laz").write_bytes(b"cloud")
    made = (201, {"Content-Type": "application/json"}, b'{"id": "made"}')
    with (
        Scripted([None, problem(409, "is being received", Retry_After="0"), made]) as server,
        kind(server.url) as client,
    ):
        assert client.submit([tmp_path / "a.laz"])["id"] == "made"
    keys = [headers["Idempotency-Key"] for _, headers, _ in server.seen]
    assert (len(keys), len({*keys})) == (3, 1)
    assert keys[0][0] == keys[0][-1] == '"'
    assert len({body for _, _, body in server.seen}) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (problem(429, "full", Retry_After="3600"), Busy),
        (problem(409, "not ended"), Conflict),
        (problem(401, "key?"), Unauthorized),
        (problem(500, "a bug"), Problem),
        (problem(504, "late"), DeadlineExceeded),
        ((502, {"Content-Type": "text/html"}, b"<html>"), Problem),
        ((418, {}, b"[1, 2]"), Problem),
        ((302, {"Location": "https://elsewhere"}, b""), BadAddress),
    ],
)
def test_it_does_not_come_back(kind, answer, expected):
    with Scripted([answer]) as server, kind(server.url, patience_s=5) as client, pytest.raises(Problem) as caught:
        client.predict(b"cloud")
    assert type(caught.value) is expected
    assert caught.value.status == answer[0]
    assert len(server.seen) == 1


def test_an_answer_that_breaks_off_is_asked_for_again_and_never_kept(kind, tmp_path):
    half = (200, {**GOOD, "Content-Length": "100"}, b"half")
    with Scripted([half, (200, GOOD, b"whole"), half]) as server:
        with kind(server.url) as client:
            client.predict_file(b"cloud", tmp_path / "out", output="json")
        assert (tmp_path / "out").read_bytes() == b"whole"
        with kind(server.url, patience_s=0) as client, pytest.raises(NotReady, match="broke off"):
            client.predict_file(b"cloud", tmp_path / "other", output="json")
    assert os.listdir(tmp_path) == ["out"]


def test_silence_has_an_end(kind):
    with Scripted([]) as server:
        server.shutdown()  # connections are accepted by the system, and nobody answers
        with (
            kind(server.url, timeout_s=0.3, patience_s=0) as client,
            pytest.raises(NotReady, match=r"silent for 0\.3 s"),
        ):
            client.models()


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_server(kind, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with Scripted([(200, GOOD, b"{}")]) as server, kind(server.url) as client, pytest.raises(OSError, match="file"):
        client.predict_file(b"cloud", tmp_path / "file" / "out", output="json")


def test_an_answer_of_something_else_is_no_prediction(kind):
    script = [(200, {}, b"hello"), (200, GOOD, b"hello there"), (200, {}, b"hello")]
    with Scripted(script) as server, kind(server.url) as client:
        for _ in range(2):
            with pytest.raises(Problem, match="another version"):
                client.predict(b"cloud")
        with pytest.raises(Problem, match="no pointserve"):
            client.models()


def test_an_answer_of_something_else_does_not_replace_a_file(kind, tmp_path):
    (tmp_path / "out.laz").write_bytes(b"of before")
    with (
        Scripted([(200, {"Content-Type": "text/html"}, b"<html>Log in")]) as server,
        kind(server.url) as client,
        pytest.raises(Problem, match="no pointserve"),
    ):
        client.predict_file(b"cloud", tmp_path / "out.laz")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.laz": b"of before"}


def test_an_answer_whose_end_cannot_be_told_is_not_kept(kind, tmp_path):
    """The connection ends it, early or not."""
    with (
        Scripted([(200, {**GOOD, "Content-Length": None}, b"half")]) as server,
        kind(server.url) as client,
        pytest.raises(Problem, match="may not be whole"),
    ):
        client.predict_file(b"cloud", tmp_path / "out.laz")
    assert not os.listdir(tmp_path)


def test_many_write_one_file_and_none_of_another(tmp_path):
    mine = tmp_path / "out.laz.part"
    mine.write_bytes(b"mine")
    (tmp_path / "link.laz").symlink_to("out.laz")
    parts = [bytes([number]) * 1_000_000 for number in range(8)]

    def write(_) -> None:
        client.predict_file(
            b"cloud", tmp_path / "link.laz", output="laz", on_received=lambda received, total: time.sleep(0.01)
        )

    script = [(200, GOOD, part) for part in parts]
    with Scripted(script) as server, Client(server.url) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(write, parts))
    assert (tmp_path / "out.laz").read_bytes() in parts
    assert (tmp_path / "link.laz").is_symlink()
    assert mine.read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == ["link.laz", "out.laz", "out.laz.part"]


def test_a_server_that_says_at_once_is_not_asked_without_a_pause(kind):
    past = email.utils.formatdate(time.time() - 3600, usegmt=True)
    script = [problem(503, "starting", Retry_After=when) for when in ("0", past, "nan", "-1")]
    with Scripted([*script, (200, GOOD, CONTENT)]) as server:
        waits = []
        with kind(server.url, on_wait=lambda problem, wait_s: waits.append(wait_s)) as client:
            client.predict(b"cloud")
    assert waits == [FIRST_BACK_OFF_S] * 4


def test_a_password_in_the_address_is_not_shown(kind):
    with kind(f"http://me:secret@127.0.0.1:{free_port()}", patience_s=0) as client, pytest.raises(NotReady) as caught:
        client.models()
    assert "//127.0.0.1" in caught.value.detail
    assert "secret" not in caught.value.detail


def test_what_the_caller_handles_is_not_the_reason(kind):
    with kind(f"http://127.0.0.1:{free_port()}", patience_s=0) as client:
        try:
            raise socket.gaierror(1, "another host")
        except socket.gaierror:
            with pytest.raises(NotReady, match="Connection refused"):
                client.models()


@pytest.mark.parametrize(
    ("name", "value"), [("ALL_PROXY", "socks9://x"), ("HTTPS_PROXY", "ftp://x"), ("SSL_CERT_FILE", "/missing")]
)
def test_an_environment_that_cannot_be_used_is_named(kind, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadAddress, match=name):
        kind("https://localhost:5001")


def test_what_is_asked_for(kind):
    answer = (200, {"Content-Type": "application/json"}, b'{"models": []}')
    asked = {
        "/models": lambda client: client.models(),
        "/models/a%2Fb/load": lambda client: client.load("a/b"),
        "/models/a%2Fb/reload": lambda client: client.reload("a/b"),
        "/models/a%2Fb/unload": lambda client: client.unload("a/b"),
        "/diagnostics": lambda client: client.diagnostics(),
        "/diagnostics?deep=1": lambda client: client.diagnostics(deep=True),
    }
    with Scripted([answer] * len(asked)) as server, kind(server.url) as client:
        for ask in asked.values():
            ask(client)
    assert [path for path, _, _ in server.seen] == list(asked)


def test_health_is_told_where_the_service_is_not_ready(kind):
    script = [
        (503, {"Content-Type": "application/json"}, b'{"state": "starting"}'),
        problem(503, "crowded"),
        (503, {"Content-Type": "text/html"}, b"<html>"),
    ]
    with Scripted(script) as server, kind(server.url) as client:
        assert client.health() == {"state": "starting"}
        for reason in ("crowded", "503"):
            with pytest.raises(NotReady, match=reason):
                client.health()


def test_connections_are_kept(kind):
    answer = (200, {"Content-Type": "application/json"}, b"{}")
    with Scripted([answer, problem(404, "none"), answer], keeps=True) as server, kind(server.url) as client:
        client.health()
        with pytest.raises(Problem):
            client.load("nobody")
        client.health()
    assert len(server.ports) == 3
    assert len(set(server.ports)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "localhost:5001",
        "ftp://x",
        "http://",
        "",
        "http://x:5999x",
        "http://x:70000",
        "http://[x",
        "http://x y",
        "http://x/?a=b",
        "http://x/#a",
        "http://a..b",
        "http://" + "a" * 70,
    ],
)
def test_addresses_that_are_none(url):
    with pytest.raises(BadAddress, match="address"):
        Client(url)


@pytest.mark.parametrize("key", ["…", "schlüssel", "a\nb", "a\0b", "\udcff", "key ", " key"])
def test_keys_that_cannot_be_sent(key):
    with pytest.raises(Unauthorized, match="ASCII"):
        Client("http://localhost:5001", key)


def test_a_server_that_was_never_there_is_not_awaited_for_long(kind):
    told = []
    client = kind(f"http://127.0.0.1:{free_port()}", on_wait=lambda problem, wait_s: told.append(wait_s))
    with client, pytest.raises(NotReady, match=r"Connection refused\. Is the service running"):
        client.models()
    assert 1 <= sum(told) < FIRST_CONTACT_S


def test_a_server_that_went_away_is_awaited(kind):
    told = []
    with Scripted([(200, GOOD, CONTENT)]) as server:
        client = kind(server.url, patience_s=9.0, on_wait=lambda problem, wait_s: told.append(wait_s))
        client.predict(b"cloud")
    with client, pytest.raises(NotReady, match="not reached"):
        client.predict(b"cloud")
    assert sum(told) > FIRST_CONTACT_S / 2


def test_a_silent_server_is_not_awaited_longer_than_was_said(kind):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        kind(f"http://127.0.0.1:{silent.getsockname()[1]}") as client,
        pytest.raises(NotReady, match=r"silent for (0\.\d+|1) s"),
    ):
        client.wait_ready(1)


def test_nobody_there(kind):
    with kind(f"http://127.0.0.1:{free_port()}", patience_s=0.2) as client:
        with pytest.raises(NotReady, match="Nothing answers"):
            client.models()
        with pytest.raises(NotReady, match="Nothing answers"):
            client.wait_ready(0.1)
    with kind("http://nowhere.invalid") as client, pytest.raises(BadAddress, match="found"):
        client.models()


def test_tls_to_a_plain_server_ends_at_once_and_names_the_remedy(kind):
    waits = []
    with Scripted([]) as server:
        client = kind(server.url.replace("http", "https"), on_wait=lambda *told: waits.append(told))
        with client, pytest.raises(BadAddress) as caught:
            client.models()
    assert "does not speak TLS" in caught.value.detail
    assert f"ask {server.url}." in caught.value.detail
    assert not waits


def test_retry_after():
    assert retry_after_s("7") == 7
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None
    assert retry_after_s("-3") == 0
    assert 50 < retry_after_s(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60
