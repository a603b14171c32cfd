"""What POST /jobs brings: files, as they are or as the parts of a form, or the sources that a JSON names."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import orjson
from flask import Request
from werkzeug.datastructures import MultiDict
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Field, File

from app.errors import BadRequest, quoted
from app.http import query
from app.http.connection import awaits_continue
from app.http.form import CHUNK_BYTES, FIELDS_BYTES, FILENAME_CHARS, Form
from app.http.inflate import Readable
from app.http.jobs.description import OWN
from app.http.upload import body_stream
from app.options import NAMES, Options
from app.survey.job_sources import MAX_FILES
from app.survey.jobs.draft import Draft, DraftFile
from app.survey.jobs.job import Job
from app.survey.jobs.once import Once

KEY = "Idempotency-Key"
KEY_CHARS = 255
NAME_CHARS = 1024  # of a file, with folders
NO_LIMIT = 1 << 62  # of a body: the disk space for jobs bounds it
HOW_TO_SEND = (
    "Send files as parts 'file' of a form (curl -F file=@a.laz -F file=@b.laz), one file as the raw body "
    '(curl --data-binary @tile.laz), or the places of files as JSON: {"sources": ["/surveys/2026/*.laz"]}.'
)
Given = MultiDict[str, str]


@dataclass(frozen=True)
class Wish:
    """How a job is wanted: options of the predictions, context around tiles, and sources if it brings no files."""

    options: Options
    buffer_m: float | None
    sources: list[str]

    @classmethod
    def of(cls, *given: Given) -> "Wish":
        """What query, form or JSON ask for together; raises BadRequest for what is not known or cannot be."""
        own: Given = MultiDict((name, value) for each in given for name, value in _pairs(each) if name in OWN)
        rest = [MultiDict((name, value) for name, value in _pairs(each) if name not in OWN) for each in given]
        sources = [text.strip() for text in own.getlist("sources") if text.strip()]
        if len(sources) > MAX_FILES:
            raise BadRequest(f"A job takes {MAX_FILES} sources; these are {len(sources)}: name folders or globs.")
        return cls(query.parse(*rest, accepted=(*NAMES, *OWN)), _metres(own.get("buffer", "").strip()), sources)


def receive(request: Request, draft: Draft, check: Callable[[Options], None]) -> Wish:
    """Put the files that ``request`` brings into ``draft``; what is wanted of them.

    Raises what ``check`` does of the options, if all of them are in the query before the body is read. Raises
    BadRequest if it brings nothing, Problem as ``upload.receive`` does, NoRoom if there is no room for it.
    """
    is_form = request.mimetype == "multipart/form-data"
    is_json = request.mimetype == "application/json"
    if awaits_continue(request.environ):
        Wish.of(request.args)  # what is wrong with them is told before the body comes
    with body_stream(request, FIELDS_BYTES if is_json else NO_LIMIT) as stream:
        if is_form:
            form = FilesForm(draft)
            with form:
                form.receive(stream, request.mimetype_params.get("boundary", ""))
            wish = Wish.of(request.args, form.fields)
        elif is_json:
            wish = Wish.of(request.args, _from_json(stream))
        else:
            wish = Wish.of(request.args)
            check(wish.options)
            _receive_raw(request, stream, draft, wish.options.filename)
    if draft.files and wish.sources:
        raise BadRequest("A job has files or sources, not both.")
    if not draft.files and not wish.sources:
        raise BadRequest(f"The request holds no file, and names none. {HOW_TO_SEND}")
    if is_form or is_json:
        check(wish.options)
    return wish


def once_of(request: Request, owner: str) -> Once | None:
    """What makes ``request`` the same as an earlier one; None if it brings no key. Raises BadRequest for a bad key.

    The fingerprint is made of query, media type and length, so a request that comes again is known before its body.
    """
    given = request.headers.get(KEY)
    if given is None:
        return None
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not (key.isascii() and key.isprintable() and 0 < len(key) <= KEY_CHARS) or '"' in key:
        raise BadRequest(f"{KEY}: {quoted(given)} is not accepted: give a text such as a UUID, in quotation marks.")
    about = [request.query_string, request.mimetype, request.content_length, request.headers.get("Content-Encoding")]
    return Once(owner, key, hashlib.sha256(repr(about).encode()).hexdigest())


def job_of(draft: Draft, wish: Wish, owner: str, once: Once | None, now_s: float) -> Job:
    """The job that ``draft`` becomes."""
    is_upload = bool(draft.files)
    sources = draft.files if is_upload else wish.sources
    key, fingerprint = (once.key, once.fingerprint) if once else ("", "")
    return Job(draft.id, owner, sources, is_upload, wish.options, wish.buffer_m, key, fingerprint, created_s=now_s)


class FilesForm(Form):
    """A form whose parts 'file' go to ``draft``, one after the other; to be closed by ``with``."""

    max_parts = MAX_FILES

    def __init__(self, draft: Draft):
        super().__init__()
        self._draft = draft
        self._open: DraftFile | None = None

    def __enter__(self) -> "FilesForm":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._close()
        elif self._open:
            self._open.close()

    def begin(self, part: Field | File) -> None:
        """A part begins; the file before it is whole."""
        self._close()
        super().begin(part)
        if not isinstance(part, File):
            return
        if part.name != "file":
            raise BadRequest(f"The form holds a file as the part {quoted(part.name or '')}. {HOW_TO_SEND}")
        self._open = self._draft.file(part.filename[-NAME_CHARS:])

    def take(self, data: bytes | bytearray) -> None:
        """Content of the file that has begun last."""
        if self._open:
            self._open.write(bytes(data))

    def _close(self) -> None:
        if self._open:
            self._open.close()
            _check_size(self._open)
            self._open = None


def _receive_raw(request: Request, stream: Readable, draft: Draft, filename: str) -> None:
    data = stream.read(CHUNK_BYTES)
    if not data:
        return
    _, disposition = parse_options_header(request.headers.get("Content-Disposition"))
    file = draft.file(filename or disposition.get("filename", "")[-FILENAME_CHARS:])
    try:
        while data:
            file.write(data)
            data = stream.read(CHUNK_BYTES)
    finally:
        file.close()


def _check_size(file: DraftFile) -> None:
    if not file.size:
        raise BadRequest(f"The file {quoted(file.name)} is empty. {HOW_TO_SEND}")


def _from_json(stream: Readable) -> Given:
    data = b""
    while chunk := stream.read(CHUNK_BYTES):
        data += chunk
    try:
        found = orjson.loads(data or b"{}")
    except ValueError as error:  # also for too deep nesting, and text that is no Unicode
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise BadRequest(f"The body is not a JSON object. {HOW_TO_SEND}")
    given: Given = MultiDict()
    for name, value in found.items():
        if name == "sources":
            if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                raise BadRequest("sources is not accepted: expected a list of texts.")
            given.setlist(name, value)
        elif value is not None:
            given.add(name, _text(name, value))
    return given


def _text(name: str, value: Any) -> str:
    """A value of JSON as it would stand in a query."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise BadRequest(f"{quoted(name)} is not accepted: expected a text, a number or a list of texts.")


def _pairs(given: Given) -> list[tuple[str, str]]:
    return list(given.items(multi=True))


def _metres(text: str) -> float | None:
    if not text:
        return None
    try:
        metres = float(text)
    except ValueError:
        metres = -1.0
    if not 0 <= metres < 1e6:
        raise BadRequest(f"buffer: {quoted(text)} is not accepted; expected metres, 0 or more.")
    return metres
