"""A server that answers as a script says, and a client for tests that waits in an event loop."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from pointserve_client import AsyncClient
from safetensors.numpy import save

LABELS = np.array([1, -1], np.int32)
SAID = {
    "model": "some model",
    "ignore_label": "-1",
    "classes": '[{"id": 1, "name": "ground", "color": [1, 2, 3], "asprs": 2}]',
    "warnings": '["no colors"]',
    "units": "null",
}
CONTENT = save({"labels": LABELS, "entropy": np.array([0.5, 0], np.float32)}, metadata=SAID)
GOOD = {
    "Content-Type": "application/json",
    "X-Pointserve-Model": "some%20model",
    "X-Pointserve-Points": "2",
    "X-Pointserve-Passes": "1/3",
    "X-Pointserve-Warnings": '["no colors"]',
    "X-Request-Id": "abc",
    "Server-Timing": "decode;dur=1.5, network;dur=20.0",
}


class Scripted(ThreadingHTTPServer):
    """Answers one request after the other as ``script`` says: status, headers, body; None hangs up. A header that is
    None is left out.

    ``seen`` are path, headers and body of each, ``ports`` those of the clients' connections.
    """

    daemon_threads = True

    def __init__(self, script, *, keeps=False):
        scripted, self.seen, self.ports = self, [], []
        answers = iter(script)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                scripted.seen.append((self.path, dict(self.headers), body))
                scripted.ports.append(self.client_address[1])
                answer = next(answers)
                self.close_connection = not keeps
                if answer is None:
                    return
                status, headers, content = answer
                self.send_response(status)
                ends = {"Connection": "keep-alive" if keeps else "close"}
                for name, value in {"Content-Length": str(len(content)), **ends, **headers}.items():
                    if value is not None:
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
        {"Content-Type": "application/problem+json"}
        | {name.replace("_", "-"): value for name, value in headers.items()},
        json.dumps({"detail": detail}).encode(),
    )


class Awaited:
    """An ``AsyncClient`` with the functions of ``Client``: each runs its coroutine to the end."""

    def __init__(self, *arguments, **settings):
        self._client = AsyncClient(*arguments, **settings)  # which may raise: then there is no loop to close
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name):
        def call(*arguments, **options):
            return self._loop.run_until_complete(getattr(self._client, name)(*arguments, **options))

        return call

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
