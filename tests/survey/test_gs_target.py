"""Answers on a store of Google, of which a small server knows the part that uploads need."""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from app.errors import NoRoom, NotReady, Problem
from app.survey import remote, target
from tests.survey.survey_files import running
from tests.survey.survey_store import bucket_type

gcsfs = pytest.importorskip("gcsfs.extended_gcsfs")
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp says so of what gcsfs does
MIB = 1 << 20
API = "/storage/v1/b/tiles"


class Handler(BaseHTTPRequestHandler):
    """Objects of the bucket ``tiles``, and uploads in one request or in parts; fails where its server says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if "/b/tiles/" not in url.path:
            self.answer(404, {})
        elif query["uploadType"] == "multipart":
            _, about, data = body.split(b"\n\n", 2)
            name = json.loads(about.partition(b"\n--")[0])["name"]
            self.server.media_types[name] = about.rpartition(b"Content-Type: ")[2].decode()
            self.publish(name, data.removesuffix(b"\n--==0==--"))
        elif "session" not in query:
            self.server.sessions[query["name"]] = b""
            self.server.media_types[query["name"]] = self.headers["X-Upload-Content-Type"]
            self.answer(200, {}, Location=f"{self.server.url}{self.path}&session=1")
        elif self.server.fails:
            self.answer(403, {"error": {"code": 403, "message": "not now"}})
        else:
            self.server.sessions[query["name"]] += body
            done = self.server.sessions[query["name"]]
            if self.headers["Content-Range"].endswith("/*"):
                self.answer(308, {}, Range=f"bytes=0-{len(done) - 1}")
            else:
                self.publish(query["name"], self.server.sessions.pop(query["name"]))

    def do_DELETE(self):
        self.server.sessions.clear()
        self.answer(204, {})

    def do_GET(self):
        name = unquote(urlsplit(self.path).path.rpartition("/")[2])
        found = self.server.objects.get(name)
        self.answer(200, found[1]) if found else self.answer(404, {})

    def publish(self, name, data):
        md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
        about = {"name": name, "bucket": "tiles", "size": str(len(data)), "md5Hash": md5, "generation": "1"}
        self.server.objects[name] = (data, about)
        self.answer(200, about)

    def answer(self, status, body, **headers):
        data = json.dumps(body).encode() if status != 204 else b""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *about):
        pass


@contextmanager
def served():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.objects, server.media_types, server.sessions, server.fails = {}, {}, {}, False
    with running(server):
        yield server


@pytest.fixture
def store(monkeypatch):
    from fsspec.config import conf

    with served() as server:
        monkeypatch.setitem(conf, "gs", {"token": "anon", "endpoint_url": server.url})
        monkeypatch.setattr(remote, "BLOCK_BYTES", MIB)
        monkeypatch.setattr(gcsfs.ExtendedGcsFileSystem, "_get_bucket_type", bucket_type)
        gcsfs.ExtendedGcsFileSystem.clear_instance_cache()
        yield server


def refuse():
    raise Problem("refused")


@pytest.mark.parametrize("size", [5, MIB, 3 * MIB + 7])
def test_an_object_appears_whole_or_not_at_all(store, size):
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    with pytest.raises(Problem, match="refused"):
        target.write("gs://tiles/a.laz", [data], check=refuse)
    assert not store.objects
    assert not store.sessions
    written = target.write("gs://tiles/a.laz", [data[: size // 2], data[size // 2 :]])
    assert store.objects["a.laz"][0] == data
    assert store.media_types["a.laz"] == "application/vnd.laszip"
    assert written.version == remote.stat("gs://tiles/a.laz").version
    assert re.match(rf"{size}-\S", written.version)


def test_an_upload_that_fails_leaves_nothing(store):
    store.fails = True
    with pytest.raises((NotReady, NoRoom), match=r"gs://tiles/a\.laz cannot be written"):
        target.write("gs://tiles/a.laz", [bytes(3 * MIB)])
    assert not store.objects
    with pytest.raises(NoRoom, match=r"gs://nothing/a\.laz cannot be written"):
        target.write("gs://nothing/a.laz", [b"a"])
