"""The answers of a job, brought into a folder: each whole, and those that are there already once."""

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from pointserve_client import Client, NotFound

from app.errors import Problem, quoted
from app.survey.answers import PARTIAL

from .terminal import advancing, progress

CHUNK_BYTES = 1 << 20


def fetch(client: Client, job_id: str, out: Path) -> None:
    """Bring the answers of a job that has ended into ``out``; nothing if there are none.

    Raises Problem of the client, and Problem if what comes is not what the server says of it.
    """
    try:
        answers = client.job_answers(job_id)["files"]
    except NotFound:  # no file was labelled
        return
    partial = out / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    with progress() as bar:
        task = bar.add_task("fetching", total=len(answers))

        def work(answer: dict[str, Any]) -> None:
            target = out / _checked(answer["name"])
            if _is_there(target, answer):
                return
            bar.update(task, description=f"fetching {answer['name']}")
            part = partial / uuid4().hex
            client.fetch_answer(job_id, answer["url"], part)
            if not _is(part, answer):
                raise Problem(f"{answer['name']} did not come as the server has it. The same command fetches it again.")
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)

        try:
            for answer in answers:
                advancing(bar, task, work)(answer)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _checked(name: str) -> PurePosixPath:
    """``name`` as a path below a folder; raises Problem if it leads out of it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0].startswith("."):
        raise Problem(f"The server calls an answer {quoted(name)}, which is no place in the folder of the answers.")
    return path


def _is_there(path: Path, answer: dict[str, Any]) -> bool:
    """Whether ``path`` is surely the file that ``answer`` describes."""
    return bool(answer["sha256"]) and path.is_file() and _is(path, answer)


def _is(path: Path, answer: dict[str, Any]) -> bool:
    if path.stat().st_size != answer["bytes"]:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return answer["sha256"] in ("", digest.hexdigest())
