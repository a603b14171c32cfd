"""Pages of other origins change nothing here, whatever the browser tells; names of others are not answered."""

import socket

import pytest
import requests
from pydantic import ValidationError

from app import create_app
from app.http.hosts import Hosts, host_name, is_origin_of
from app.settings import Settings
from tests.http import clouds
from tests.http.server import MODEL, Server

CHANGES = [f"/models/{MODEL.name}/unload", f"/models/{MODEL.name}/load", f"/models/{MODEL.name}/reload"]
CHANGES += [f"/v2/repository/models/{MODEL.name}/unload", f"/v2/repository/models/{MODEL.name}/load"]
OWN = "http://127.0.0.1:{port}"


def problem(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


@pytest.mark.parametrize("path", [*CHANGES, "/predict", f"/v2/models/{MODEL.name}/infer"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.test:5999"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Origin": "http://"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://x@127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.test"},
        {"Origin": "http://evil.test", "X-Forwarded-Host": "other.test"},
    ],
)
def test_a_page_of_another_origin_changes_nothing(server: Server, path: str, headers: dict[str, str]):
    sent = {name: value.format(port=server.port) for name, value in headers.items()}
    assert "POINTSERVE_CORS_ORIGINS" in problem(server.post(path, headers=sent), 403)
    assert server.get("/models").json()["models"][0]["served"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OWN, "Sec-Fetch-Site": "same-origin"},
        {"Origin": OWN},
        {"Origin": "https://lidar.example", "X-Forwarded-Host": "lidar.example"},
        {"Origin": "https://lidar.example", "X-Forwarded-Host": "lidar.example:443"},
        {"Origin": "https://lidar.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
def test_the_own_page_and_programs_may_ask(server: Server, headers: dict[str, str]):
    sent = {name: value.format(port=server.port) for name, value in headers.items()}
    answer = server.post(data=clouds.npy(slice(300)), headers=sent)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "Text/Plain;charset=utf-8"]
)
def test_models_are_not_changed_by_what_a_form_can_send(server: Server, path: str, media_type: str):
    assert "curl -X POST" in problem(server.post(path, headers={"Content-Type": media_type}), 415)
    assert server.get("/models").json()["models"][0]["served"]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "evil.test:{port}",
        "EVIL.example.",
        "127.0.0.1.nip.io",
        "127.0.0.1.evil.test:{port}",
        "localhost.evil.test",
        "0x7f.1",
        "evil.test@127.0.0.1",
        "127.0.0.1, evil.test",
        "evil.test#localhost",
        "[::1].evil.test",
        "\u00e9vil",
        ":80",
        ".",
    ],
)
def test_names_of_others_are_not_answered(server: Server, method: str, host: str):
    host = host.format(port=server.port)
    own = {
        "Host": host.encode("latin-1"),
        "Origin": f"http://{host}".encode("latin-1"),
        "Sec-Fetch-Site": "same-origin",
    }
    answer = requests.request(method, f"{server.url}/models", headers=own, timeout=30)
    assert answer.status_code in (400, 403), answer.text
    if answer.status_code == 403:
        assert "POINTSERVE_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"])
def test_probes_may_ask_under_any_name(server: Server, path: str):
    assert server.get(path, headers={"Host": "balancer.example"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:1",
        "LOCALHOST.",
        "127.0.0.1:{port}",
        "192.168.1.20",
        "10.0.0.7:80",
        "[::1]:5001",
        "[fe80::1%25eth0]",
        "pointserve:5001",
        "ml_service",
        "gpu-box.local",
        "gpu-box.lan:5001",
        socket.gethostname(),
        socket.getfqdn(),
    ],
)
def test_own_names_are_answered(server: Server, host: str):
    assert server.get("/models", headers={"Host": host.format(port=server.port)}).status_code == 200


def test_a_request_without_a_name_is_answered(server: Server):
    with server.connect() as connection:
        connection.sendall(b"GET /models HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.")


@pytest.mark.parametrize(
    ("setting", "names", "others"),
    [
        ("lidar.example.com", ["lidar.example.com", "Lidar.Example.com:443"], ["example.com", "x.lidar.example.com"]),
        (".example.com, a.b", ["example.com", "x.y.example.com", "a.b"], ["badexample.com", "c.b"]),
        ("*", ["anything.example", "é b"], []),
    ],
)
def test_the_setting_names_more(setting: str, names: list[str], others: list[str]):
    hosts = Hosts(setting)
    assert all(map(hosts.allows, names))
    assert not any(map(hosts.allows, others))
    assert hosts.allows("127.0.0.1")


def test_the_name_that_the_server_listens_on_is_its_own():
    assert Hosts("", "lidar.example.com").allows("lidar.example.com:5001")


@pytest.mark.parametrize(
    "setting", ["https://a.example", "a.example:5001", "a b", "a,,b", "*.example.com", "[::1]", "a/b"]
)
def test_settings_that_are_no_names_are_refused(setting: str):
    with pytest.raises(ValidationError):
        Settings(allowed_hosts=setting)


def test_named_origins_may_change_things():
    client = create_app(Settings(cors_origins="https://viewer.example")).test_client()
    headers = {"Origin": "https://viewer.example", "Sec-Fetch-Site": "cross-site"}
    answer = client.post("/models/x/unload", headers=headers)
    assert answer.status_code != 403
    assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example"


def test_a_key_does_not_help_a_page_of_another_origin():
    client = create_app(Settings(api_keys=f"a={'0' * 64}")).test_client()
    assert client.post("/predict", headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_parts_of_hosts_and_origins():
    assert host_name("[::1]:80") == "::1"
    assert host_name("a_b.C.:1") == "a_b.c"
    assert host_name("a b") is None
    assert host_name(".") is None
    assert is_origin_of("http://a:80", "a")
    assert is_origin_of("https://a", "A:443")
    assert not is_origin_of("https://a", "a:80")
    assert not is_origin_of("", "")
    assert not is_origin_of("null", "null")
