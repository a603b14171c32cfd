"""Object stores of tests: clients of a local one, and servers that fail or are slow."""

import http.client
import os
import socket
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from app.survey import remote
from app.survey.files import open_local
from app.survey.headers import tiles
from app.survey.sources import find
from tests.survey.survey_files import UTM, las, running

HOP = ("connection", "transfer-encoding", "content-length", "host")


@contextmanager
def object_store():
    """The address of an object store that speaks S3, and is empty."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        with urlopen(Request(f"{url}/moto-api/reset", method="POST")):  # its buckets are those of the process
            yield url
    finally:
        server.stop()


def variables(endpoint):
    """What tells clients of S3 to use ``endpoint``, and to try once."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    return {**keys, "AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}


def use(endpoint, monkeypatch):
    """Have this process use the store at ``endpoint``."""
    import s3fs

    for name, value in variables(endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()


class Failing:
    """A server that answers every request with ``answer``, or not at all."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.accepted = []

    def __enter__(self):
        self.thread = Thread(target=self.serve, daemon=True)
        self.thread.start()
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(connection)
            if self.answer:
                connection.recv(65536)
                connection.sendall(self.answer)
                connection.close()

    def __exit__(self, *error):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for connection in self.accepted:
            connection.close()


class Handler(BaseHTTPRequestHandler):
    """Hands requests on to a store, but for those that its server's ``fault`` answers."""

    protocol_version = "HTTP/1.1"

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path))
        fault = self.server.fault(self.command, self.path)
        if fault == "silence":
            self.server.released.wait(20)
            self.close_connection = True
            return
        if fault:
            status, reason, headers, data = fault, "", [], b""
        else:
            status, reason, headers, data = self.passed_on(body)
        self.send_response(status, reason)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), len(data))
        self.send_header("Content-Length", length if self.command == "HEAD" else len(data))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def passed_on(self, body):
        store = http.client.HTTPConnection(urlsplit(self.server.store).netloc)
        try:
            store.request(self.command, self.path, body, dict(self.headers))
            answer = store.getresponse()
            return answer.status, answer.reason, answer.getheaders(), answer.read()
        finally:
            store.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815

    def log_message(self, *about):
        pass


class Proxy(ThreadingHTTPServer):
    """Before the store at ``store``; ``fault`` says what becomes of a request: a status, "silence", or nothing."""

    daemon_threads = True

    def __init__(self, store, fault):
        super().__init__(("127.0.0.1", 0), Handler)
        self.store, self.fault = store, fault
        self.asked = []
        self.released = Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass


@contextmanager
def proxy(store, fault):
    server = Proxy(store, fault)
    with running(server):
        try:
            yield server
        finally:
            server.released.set()


def check_found_and_read(store, scheme, monkeypatch):
    """Files of a ``store`` with a bucket ``tiles`` are found by folder, pattern and list, and read in blocks."""
    data = las(num_points=20_000)
    for name in ("a.las", "north/b.las", "north/.c.las", "notes.txt"):
        store.pipe_file(f"tiles/{name}", data)
    store.pipe_file("tiles/north/list.txt", b"b.las\n../a.las\ngone.las\n")

    def names(text):
        return [source.name for source in find([text])]

    assert names(f"{scheme}://tiles") == names(f"{scheme}://tiles/") == ["a.las", "north/b.las"]
    assert names(f"{scheme}://tiles/*/*.las") == ["north/b.las"]
    assert names(f"{scheme}://tiles/north/b.las") == ["b.las"]
    found = list(tiles(find([f"@{scheme}://tiles/north/list.txt"])))
    assert [each.name for each in found] == ["b.las", "a.las", "gone.las"]
    assert [each.num_points for each in found] == [20_000, 20_000, None]
    assert found[0].crs == UTM
    assert found[2].error == f"{scheme}://tiles/north/gone.las does not exist."
    (listed,) = tiles(find([f"{scheme}://tiles/*.las"]))
    assert listed.version == found[1].version
    monkeypatch.setattr(remote, "BLOCK_BYTES", 100_000)
    with open_local(listed) as body:
        assert os.pread(body.fd, body.size + 1, 0) == data


async def bucket_type(files, bucket):
    """As a service that the server does not have would tell."""
    from gcsfs.extended_gcsfs import BucketType

    return BucketType.NON_HIERARCHICAL
