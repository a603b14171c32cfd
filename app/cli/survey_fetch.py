"""The answers of a job, brought into a folder: each whole, and those that are there already once."""

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from uuid import uuid4

from pointserve_client import Client, NotFound
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from app.errors import Problem, quoted
from app.survey import lock, manifest, ticket
from app.survey.answers import PARTIAL
from app.validation import explain
from app.zoo.digest import sha256

from .terminal import advancing, progress

UNNAMED = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # what no name of a file should have, or can
OURS = (lock.LOCK, ticket.FILE, *(manifest.FILE + end for end in ("", "-wal", "-shm", "-journal")))


@dataclass(frozen=True)
class Answer:
    """One of ``Client.job_answers``."""

    name: str
    bytes: int
    sha256: str
    url: str


def fetch(client: Client, job_id: str, out: Path) -> dict[str, int]:
    """Bring the answers of a job that has ended into ``out``; bytes by name of those of files, none if there are none.

    Raises Problem of the client, and Problem if what comes is not what the server says of it.
    """
    try:
        answers = _parsed(client.job_answers(job_id).get("files"))
    except NotFound:  # no file was labelled
        return {}
    partial = out / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    with progress() as bar:
        task = bar.add_task("fetching", total=len(answers))

        def work(answer: Answer) -> None:
            target = out / _checked(answer.name)
            if _is_there(target, answer):
                return
            bar.update(task, description=f"fetching {answer.name}")
            part = partial / uuid4().hex
            client.fetch_answer(job_id, answer.url, part, on_received=lambda received, _: _check_size(answer, received))
            if not _is(part, answer):
                raise _is_otherwise(answer)
            target.parent.mkdir(parents=True, exist_ok=True)
            _settle(part)
            part.replace(target)

        try:
            for answer in answers:
                advancing(bar, task, work)(answer)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return {answer.name: answer.bytes for answer in answers if answer.sha256}


def _settle(path: Path) -> None:
    """Have the disk hold ``path``, before the server is told that it need not keep the file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _parsed(files: object) -> list[Answer]:
    try:
        return TypeAdapter(list[Answer]).validate_python(files)
    except ValidationError as error:
        raise Problem(f"What answered is no pointserve (no list of answers: {explain(error.errors()[0])}).") from None


def _check_size(answer: Answer, received: int) -> None:
    """Raise Problem as soon as more comes of ``answer`` than there is."""
    if received > answer.bytes:
        raise _is_otherwise(answer)


def _is_otherwise(answer: Answer) -> Problem:
    return Problem(f"{answer.name} did not come as the server has it. The same command fetches it again.")


def _checked(name: str) -> PurePosixPath:
    """``name`` as a path below a folder; raises Problem if it leads out of it, or to a file of this command."""
    path = PurePosixPath(name)
    is_below = path.parts and not path.is_absolute() and ".." not in path.parts and not path.parts[0].startswith(".")
    if not is_below or UNNAMED.search(name) or str(path) in OURS:
        raise Problem(f"The server calls an answer {quoted(name)}, which is no place in the folder of the answers.")
    return path


def _is_there(path: Path, answer: Answer) -> bool:
    """Whether ``path`` is surely the file that ``answer`` describes."""
    return bool(answer.sha256) and path.is_file() and _is(path, answer)


def _is(path: Path, answer: Answer) -> bool:
    return path.stat().st_size == answer.bytes and answer.sha256 in ("", sha256(path))
