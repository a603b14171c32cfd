"""A small hub: its HTTP interface as far as models are fetched, over repositories in memory."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

LARGE_BYTES = 10_000  # from here on files are stored as the hub stores large ones: under their SHA-256


@dataclass
class Repository:
    """``revisions`` are the files of every commit, ``names`` the commits of branches and tags.

    ``token`` is needed to see anything, ``gate`` to fetch files; ``damage`` is sent instead of a file's bytes.
    """

    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    token: str = ""
    gate: str = ""
    damage: dict[str, bytes] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], name: str = "main") -> str:
        """Add a commit and let the branch ``name`` be at it."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.revisions[commit] = files
        self.names[name] = commit
        return commit


class Hub(ThreadingHTTPServer):
    """The server; ``requests`` are the methods and paths that it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_) -> None:
        pass

    def answer(self) -> None:
        self.server.requests.append((self.command, self.path))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.tokens.add(token)
        parts = self.path.partition("?")[0].strip("/").split("/")
        of_files = parts[:2] != ["api", "models"]
        if not of_files:
            parts = parts[2:]
        repository = self.server.repositories.get("/".join(parts[:2]))
        if repository is None or repository.token not in ("", token):
            return self.send(401, error="RepoNotFound")
        revision = unquote(parts[3])
        commit = repository.names.get(revision, revision)
        if commit not in repository.revisions:
            return self.send(404, error="RevisionNotFound")
        files = repository.revisions[commit]
        if not of_files:
            listing = {"id": "/".join(parts[:2]), "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            return self.send(200, json.dumps(listing).encode())
        if repository.gate not in ("", token):
            return self.send(403, error="GatedRepo")
        name = unquote("/".join(parts[4:]))
        if name not in files:
            return self.send(404, error="EntryNotFound", commit=commit)
        return self.file(repository, name, files[name], commit)

    def file(self, repository: Repository, name: str, data: bytes, commit: str) -> None:
        sent = repository.damage.get(name, data)
        if len(data) < LARGE_BYTES:
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            return self.send(200, sent, commit=commit, ETag=f'"{blob}"')
        digest = hashlib.sha256(data).hexdigest()
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        return self.send(200, sent, commit=commit, ETag='"of-the-store"', **linked)

    def send(self, status: int, body: bytes = b"", error: str = "", commit: str = "", **headers: str) -> None:
        self.send_response(status)
        given = {"X-Error-Code": error, "X-Repo-Commit": commit, **headers, "Content-Length": str(len(body))}
        for name, value in given.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
