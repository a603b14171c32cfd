"""The folder of a job as files of the disk."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import structlog

from app.errors import BadRequest, NotFound, Problem
from app.survey import remote
from app.survey.jobs.job import ANSWERS
from app.survey.manifest import Manifest

log = structlog.get_logger(__name__)


def remove(folder: Path) -> None:
    """Remove the folder of a job, and its answers if these are in an object store."""
    out = ""
    with suppress(BadRequest, NotFound), Manifest.read(folder / ANSWERS) as manifest:
        out = manifest.get("out", "")
    if remote.scheme_or_none(out) and out.endswith(f"/{folder.name}"):
        try:
            remote.remove(out)
        except Problem as problem:
            log.error("answers of a job that was removed are left", place=out, reason=problem.detail)
    shutil.rmtree(folder, ignore_errors=True)


def disk_bytes(folder: Path) -> int:
    """What ``folder`` and all that is in it take of the disk."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in ("", *names):  # folders take room, too
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total
