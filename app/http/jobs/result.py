"""The answers of a job as one file: that of its only tile, or a zip of all, with what shows the whole survey."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path

from flask import Response, jsonify, send_file

from app.errors import NotFound
from app.http.jobs.answers import BESIDE, listed
from app.survey import remote
from app.survey.jobs.job import Job
from app.survey.jobs.store import NotEnded, Store
from app.survey.manifest import Manifest
from app.survey.row import State
from app.survey.target import media_type

CHUNK_BYTES = 1 << 18


def result_of(store: Store, job: Job, is_list: bool, link_s: float) -> Response:
    """The answers of ``job``, or a list of them, as ``listed`` makes it if they are in an object store.

    Raises NotEnded, NotFound if no tile was labelled, and what ``listed`` raises.
    """
    if not job.state.is_ended:
        raise NotEnded(f"The job is {job.state}; its answers can be had once it has ended. GET /jobs/ID says how far.")
    out = store.answers_of(job)
    with Manifest.read(out) as manifest:
        num_tiles = len(manifest)
        outputs = [row.output for row in manifest.rows(State.DONE)]
    if not outputs:
        raise NotFound(f"No tile of the job was labelled. GET /jobs/{job.id} says why.")
    if is_list or remote.scheme(outputs[0]):
        return jsonify(asdict(listed(store, job, link_s)))
    paths = [Path(output) for output in outputs]
    if num_tiles == 1:
        return sent(paths[0])
    paths += [out / name for name in BESIDE if (out / name).is_file()]
    response = Response(zipped(out, paths), mimetype="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{job.id}.zip"'
    return response


def sent_from(place: str, link_s: float) -> Response:
    """The file at ``place``, or a redirect to a link if that is in an object store; raises as ``remote.link``."""
    if not remote.scheme(place):
        return sent(Path(place))
    response = Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": remote.link(place, link_s)})
    response.headers["Cache-Control"] = "no-store"
    return response


def sent(path: Path) -> Response:
    """The file ``path`` as it is."""
    return send_file(path, media_type(path.name), as_attachment=True, download_name=path.name)


def zipped(folder: Path, paths: list[Path]) -> Iterator[bytes]:
    """The files ``paths`` of ``folder`` as a zip, stored as they are, piece by piece."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for path in paths:
            entry = zipfile.ZipInfo.from_file(path, path.relative_to(folder), strict_timestamps=False)
            with path.open("rb") as file, archive.open(entry, "w", force_zip64=True) as member:
                while chunk := file.read(CHUNK_BYTES):
                    member.write(chunk)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken; without positions, as a connection is."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._chunks.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data, self._chunks = b"".join(self._chunks), []
        return data
