"""The answers of a job one by one: what they are, and where each can be fetched."""

import time
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from app.errors import NotFound, quoted
from app.http.jobs.described import time_text
from app.survey import files, remote, report, survey
from app.survey.jobs.job import Job
from app.survey.jobs.store import Store
from app.survey.manifest import Manifest
from app.survey.row import State

BESIDE = (report.FILE, survey.VPC)


@dataclass(frozen=True)
class AnswerFile:
    """One file among the answers of a job."""

    name: Annotated[str, Field(description="A path, with the folders of the file that it answers.")]
    bytes: int
    sha256: Annotated[str, Field(description="'' if it is not known.")]
    url: Annotated[str, Field(description="A reference, seen from the address of this list, or a link to a store.")]


@dataclass(frozen=True)
class Answers:
    """The answers of a job."""

    files: list[AnswerFile]
    expires: Annotated[str | None, Field(description="When links to an object store cease to work, in UTC.")]


def listed(store: Store, job: Job, link_s: float) -> Answers:
    """The answers of ``job``, which has ended, and what shows all of them; links to a store work for ``link_s``.

    Raises what ``remote.link`` raises.
    """
    with Manifest.read(store.answers_of(job)) as manifest:
        out = str(manifest.get("out"))
        done = [(row.output[len(out) + 1 :], row.output_bytes, row.output_sha256) for row in manifest.rows(State.DONE)]
    for name in BESIDE:
        try:
            done.append((name, files.stat(f"{out}/{name}").num_bytes, ""))
        except NotFound:  # it could not be written
            continue
    if not remote.scheme(out):
        return Answers([AnswerFile(*each, f"result/{quote(each[0])}") for each in done], None)
    expires = time_text(time.time() + link_s)
    return Answers([AnswerFile(*each, remote.link(f"{out}/{each[0]}", link_s)) for each in done], expires)


def named(store: Store, job: Job, name: str) -> str:
    """Path or URL of the file ``name`` of ``listed``, also before the job has ended; NotFound if there is none."""
    try:
        with Manifest.read(store.answers_of(job)) as manifest:
            path = f"{manifest.get('out')}/{name}"
            if name not in BESIDE:
                manifest.answered(path)
        files.stat(path)
    except NotFound:
        about = f"The job has no answer {quoted(name)}, or not yet: GET /jobs/{job.id} says how far it is."
        raise NotFound(about) from None
    return path
