"""Keys, rates, pages of other origins: off unless set, and what they do where they are."""

import base64
import os
import re
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from typer.testing import CliRunner

from app import create_app
from app.cli.commands import app as command_line
from app.http.connection import BodyIsLate
from app.http.keys import hashed
from app.settings import Settings
from tests.http import clouds
from tests.http.server import Server, descendants

ALICE, BOB = "alice's key", "b" * 43
PAGE = "https://viewer.example"
CLOUD = clouds.npy(slice(300))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    log = tmp_path_factory.mktemp("guarded") / "stderr.log"
    for name in ("CLOUD_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS", "SOMETHING_ELSE"):
        os.environ[name] = "x"
    keys = f"alice={hashed(ALICE)},bob={hashed(BOB)}"
    with Server(log, api_keys=keys, rate_limit=4, cors_origins=f"{PAGE},https://b.example", proxies=1) as started:
        yield started.wait_ready()
    for name in ("CLOUD_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS", "SOMETHING_ELSE"):
        del os.environ[name]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def rejections(server: Server, reason: str) -> float:
    text = requests.get(f"{server.url}/metrics", headers=bearer(BOB), timeout=30).text
    families = text_string_to_metric_families(text)
    return next(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "pointserve_rejections_total" and sample.labels["reason"] == reason
    )


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/models", "/openapi.json", "/v2", "/nowhere"])
def test_nothing_is_told_without_a_key(guarded: Server, path):
    answer = guarded.get(path)
    assert (answer.status_code, answer.json()["title"]) == (401, "Unauthorized")
    assert answer.json()["error"]
    assert re.findall(r"(Bearer|Basic) realm", answer.headers["WWW-Authenticate"]) == ["Bearer", "Basic"]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_key(guarded: Server, path):
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        bearer("wrong"),
        bearer(""),
        bearer(hashed(BOB)),
        bearer("schlüssel".encode().decode("latin-1")),
        {"X-API-Key": "wrong"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"bob").decode()},
        {"Authorization": "Digest x"},
    ],
)
def test_wrong_keys(guarded: Server, headers):
    before = rejections(guarded, "key")
    assert guarded.post(data=CLOUD, headers=headers).status_code == 401
    assert rejections(guarded, "key") == before + 1


def test_log_says_that_a_key_was_wrong_and_not_which(guarded: Server):
    secret = "a-key-that-is-nobodys"
    refused = guarded.get(
        "/models", headers=bearer(secret) | {"X-Request-Id": "wrong-key", "X-Forwarded-For": "192.0.2.7"}
    )
    (line,) = guarded.wait_logged(event="request", id="wrong-key")
    assert (line["status"], line["detail"], line["client"]) == (401, refused.json()["detail"], "192.0.2.7")
    assert secret not in guarded.log.read_text()


@pytest.mark.parametrize(
    "headers",
    [
        bearer(BOB),
        {"X-API-Key": BOB},
        {"Authorization": "Basic " + base64.b64encode(f"anyone:{BOB}".encode()).decode()},
    ],
)
def test_right_keys_in_every_way(guarded: Server, headers):
    assert guarded.get("/models", headers=headers).status_code == 200


def test_rate_is_limited_for_each_key_and_the_log_names_it(guarded: Server):
    headers = bearer(ALICE) | {"X-Request-Id": "by-alice"}
    answers = [guarded.post(data=CLOUD, headers=headers) for _ in range(6)]
    assert [answer.status_code for answer in answers][:4] == [200] * 4
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 15
    assert guarded.get("/models", headers=headers).status_code == 200
    assert guarded.post(data=CLOUD, headers=bearer(BOB)).status_code == 200
    lines = guarded.wait_logged(id="by-alice", status=429)
    assert {line["key"] for line in lines + guarded.wait_logged(id="by-alice", status=200)} == {"alice"}
    assert rejections(guarded, "rate") >= 1


def test_no_key_is_in_the_log(guarded: Server):
    guarded.get("/models", headers=bearer(BOB) | {"X-Request-Id": "quiet"})
    guarded.wait_logged(id="quiet")
    assert BOB not in guarded.log.read_text()


@pytest.mark.parametrize(("module", "told"), [("reader_process", False), ("engine.process", True)])
def test_children_are_told_no_secrets_and_readers_nothing_of_the_service(guarded: Server, module: str, told: bool):
    def read(pid: int, what: str) -> str:
        return Path(f"/proc/{pid}/{what}").read_text()

    pids = [pid for pid in descendants(guarded.process.pid) if module in read(pid, "cmdline")]
    assert pids
    for pid in pids:
        environment = dict(entry.split("=", 1) for entry in read(pid, "environ").split("\0") if entry)
        assert environment["PATH"] == os.environ["PATH"]
        assert not {"POINTSERVE_API_KEYS", "CLOUD_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"} & set(environment)
        assert not any(name.startswith("POINTSERVE_") for name in environment)
        assert ("SOMETHING_ELSE" in environment) == told
        assert hashed(BOB) not in read(pid, "environ")


def test_pages_of_named_origins_may_ask(guarded: Server):
    wanted = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = requests.options(f"{guarded.url}/predict", headers=wanted, timeout=30)
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    answer = guarded.get("/models", headers=bearer(BOB) | {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"})
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Origin" in answer.headers["Vary"]
    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
    assert guarded.get("/models", headers={"Origin": PAGE}).headers["Access-Control-Allow-Origin"] == PAGE  # of a 401


@pytest.mark.parametrize("origin", ["https://evil.example", f"{PAGE}.evil.example", "null", "*"])
def test_pages_of_other_origins_may_not(guarded: Server, origin):
    headers = bearer(BOB) | {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    assert "Access-Control-Allow-Origin" not in guarded.get("/models", headers=headers).headers
    assert guarded.post(data=CLOUD, headers=headers).status_code == 403


def test_all_is_off_by_default(server: Server):
    for _ in range(8):
        answer = server.post(data=CLOUD)
        assert answer.status_code == 200
    answer = server.get("/models", headers={"Origin": PAGE})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert "Origin" not in answer.headers.get("Vary", "")


@pytest.mark.parametrize("path", ["/health", "/", "/docs", "/nowhere"])
def test_security_headers_of_every_answer(server: Server, path):
    headers = server.get(path, headers={"Accept": "text/html"}).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_the_command_makes_a_key_and_its_entry():
    output = CliRunner().invoke(command_line, ["key", "carol"]).stdout
    made, entry = re.fullmatch(r"key +(\S{43,})\nentry +(\S+)\n", output).groups()
    assert entry == f"carol={hashed(made)}"
    Settings(api_keys=entry)
    assert CliRunner().invoke(command_line, ["key", "a=b"]).exit_code == 2


@pytest.mark.parametrize(("proxies", "second"), [(1, 503), (0, 429)])
def test_clients_behind_a_proxy_are_told_apart_where_it_is_believed(proxies, second):
    client = create_app(Settings(rate_limit=1, proxies=proxies)).test_client()

    def ask(address: str) -> int:
        return client.post("/predict", data=CLOUD, headers={"X-Forwarded-For": address}).status_code

    assert ask("192.0.2.1") == 503  # nothing was started behind it
    assert ask("192.0.2.2") == second
    assert ask("192.0.2.1") == 429


def test_a_request_that_waits_for_its_body_holds_no_place_and_counts_once():
    client = create_app(Settings(rate_limit=2, queue_requests=1)).test_client()
    for _ in range(2):
        with pytest.raises(BodyIsLate):
            client.post("/predict", data=CLOUD, environ_base={"pointserve.body_is_late": True})
    assert client.post("/predict", data=CLOUD).status_code == 429
    again = client.post("/predict", data=CLOUD, environ_base={"pointserve.was_asked": True})
    assert again.status_code == 503
    assert "stopping" in again.json["detail"]


@pytest.mark.parametrize("setting", ["plain", "alice=plain", f"alice={'0' * 63}", f"={'0' * 64}"])
def test_keys_that_are_no_hashes_are_refused_at_the_start(setting):
    with pytest.raises(ValidationError):
        Settings(api_keys=setting)
