"""Served by a proxy under a path: pages, links and redirects hold there, and only plain paths are believed."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urljoin

import pytest
import requests
from pydantic import ValidationError

from app import create_app
from app.settings import Settings
from tests.http.server import Server

BROWSER = "text/html,*/*;q=0.8"
LINK = re.compile(r'(?:src|href|action)="([^"#]+)"')
ROOTED = re.compile(r"""fetch\([`'"]/|from\s*["']/|url\(["']?/""")


@contextmanager
def proxied(server: Server, path: str, headers: dict[str, str], *, strips: bool = True) -> Iterator[str]:
    """A proxy that serves ``server`` under ``path``; its address."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(path):
                self.send_error(404)
                return
            target = self.path.removeprefix(path) if strips else self.path
            with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
                connection.request("GET", target, headers={"Accept": self.headers.get("Accept", "*/*")} | headers)
                answer = connection.getresponse()
                body = answer.read()
            self.send_response(answer.status)
            for name in ("Location", "Content-Type"):
                if value := answer.headers[name]:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}{path}/"
        proxy.shutdown()


def get(url: str, accept: str = BROWSER, **kwargs: object) -> requests.Response:
    return requests.get(url, headers={"Accept": accept}, timeout=60, **kwargs)


def check(root: str, stated: str) -> None:
    """All that the pages at ``root`` name is there; what is told to programs begins with ``stated``."""
    for page in ("", "docs"):
        shown = get(root + page)
        assert shown.status_code == 200
        links = LINK.findall(shown.text)
        assert links
        for link in links:
            target = urljoin(root + page, link)
            assert target.startswith(root)
            assert get(target).status_code in (200, 405), link  # 405: the form is posted
    script = get(root + "page/page.js").text
    assert not ROOTED.search(script)
    assert not ROOTED.search(get(root + "page/index.css").text)
    assert get(root, "*/*").url == root + "docs"
    assert get(root, "*/*", allow_redirects=False).json()["models"] == f"{stated}/models"
    assert get(root + "samples").json()["samples"][0]["url"].startswith(f"{stated}/samples/")


@pytest.mark.parametrize("header", ["/pc", "/pc/", "/a/b-c/d_e.f~g"])
def test_under_the_path_that_the_proxy_states(server: Server, header: str):
    path = header.rstrip("/")
    with proxied(server, path, {"X-Forwarded-Prefix": header}) as root:
        check(root, path)
        assert f"{path}/predict?output=laz" in get(root + "docs").text


def test_under_a_path_that_nobody_states(server: Server):
    with proxied(server, "/pc", {}) as root:
        check(root, "")


@pytest.mark.parametrize("strips", [True, False])
def test_under_the_path_of_the_setting(tmp_path, strips: bool):
    with Server(tmp_path / "stderr.log", path_prefix="/lidar/pc") as server:
        server.wait_ready()
        with proxied(server, "/lidar/pc", {}, strips=strips) as root:
            check(root, "/lidar/pc")
        assert server.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "pc",
        "//evil.example",
        "/\\evil.example",
        "/../..",
        "/a/./b",
        "/pc?x=1",
        "/pc#x",
        '/"><script>alert(1)</script>',
        "/%0d%0aSet-Cookie:x",
        "http://evil.example",
        "javascript:alert(1)",
        "/a, /b",
        "/" + "a" * 300,
        "/\u00e9",
    ],
)
def test_what_is_no_plain_path_is_not_believed(server: Server, header: str):
    headers = {"X-Forwarded-Prefix": header.encode("latin-1"), "Accept": "*/*"}
    told = server.get("/", headers=headers, allow_redirects=False)
    assert (told.headers["Location"], told.json()["models"]) == ("docs", "/models")
    assert "evil" not in server.get("/docs", headers=headers).text
    assert "alert" not in server.get("/docs", headers=headers).text


@pytest.mark.parametrize("prefix", ["lidar", "//x", "/a/../b", "/a b", "/a?b", "https://x.example/a"])
def test_a_setting_that_is_no_path_is_refused(prefix: str):
    with pytest.raises(ValidationError):
        Settings(path_prefix=prefix)


def test_the_setting_wins_over_the_header():
    client = create_app(Settings(path_prefix="/set/")).test_client()
    told = client.get("/", headers={"X-Forwarded-Prefix": "/stated"})
    assert told.headers["Location"] == "/set/docs"
