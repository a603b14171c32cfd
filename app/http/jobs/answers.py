"""The answers of a job one by one: what they are, and where each can be fetched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field

from app.errors import NotFound, quoted
from app.survey import report, survey
from app.survey.jobs.job import Job
from app.survey.jobs.store import Store
from app.survey.manifest import Manifest
from app.survey.row import Row, State

BESIDE = (report.FILE, survey.VPC)


@dataclass(frozen=True)
class AnswerFile:
    """One file among the answers of a job."""

    name: Annotated[str, Field(description="A path, with the folders of the file that it answers.")]
    bytes: int
    sha256: Annotated[str, Field(description="'' if it is not known.")]
    url: Annotated[str, Field(description="A reference, seen from the address of this list.")]


@dataclass(frozen=True)
class Answers:
    """The answers of a job."""

    files: list[AnswerFile]


def listed(store: Store, job: Job) -> Answers:
    """The answers of ``job``, which has ended, and what shows all of them."""
    out = store.answers_of(job)
    with Manifest.read(out) as manifest:
        files = [_described(out, row) for row in manifest.rows(State.DONE)]
    paths = [path for path in (out / name for name in BESIDE) if path.is_file()]
    files += [AnswerFile(path.name, path.stat().st_size, "", f"result/{path.name}") for path in paths]
    return Answers(files)


def _described(out: Path, row: Row) -> AnswerFile:
    name = Path(row.output).relative_to(out).as_posix()
    return AnswerFile(name, row.output_bytes, row.output_sha256, f"result/{quote(name)}")


def named(store: Store, job: Job, name: str) -> Path:
    """The file ``name`` of ``listed``, also before the job has ended; raises NotFound if there is none."""
    out = store.answers_of(job)
    path = out / name
    if name not in BESIDE:
        try:
            with Manifest.read(out) as manifest:
                outputs = {output for output, state in manifest.columns("output", "state") if state == State.DONE}
        except NotFound:  # it has not begun
            outputs = set()
        if str(path) not in outputs:
            raise NotFound(f"The job has no answer {quoted(name)}, or not yet: GET /jobs/{job.id} says how far it is.")
    if not path.is_file():
        raise NotFound(f"The job has no file {quoted(name)}, or not yet.")
    return path
