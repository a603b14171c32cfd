"""A job as the file in its folder keeps it."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path, PurePosixPath

from app.errors import BadRequest
from app.options import Options
from app.survey.tile import Source

FILE = "job.json"
ANSWERS = "out"  # folder of the answers, within that of the job
UPLOADS = "in"
NAME_PART = 2  # of the path of an upload: that folder, a number, and the name, which may have folders


class JobState(str, Enum):
    """Of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"  # every tile has ended, well or not
    FAILED = "failed"  # it ended before that

    __str__ = str.__str__

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True)
class Job:
    """What is to be done, and how far it is.

    Attributes:
        id: name of its folder.
        owner: name of the key that asked for it, '' without keys.
        sources: files of its folder that were uploaded, or what the client named.
        is_upload: which of the two.
        options: of the prediction.
        buffer_m: context around each tile, None for the halo of the model.
        key, fingerprint: of the request, as in ``Once``; '' if it had no key.
        state: of it.
        problem: why it failed.
        model: name of the one that labels it, '' until it was planned.
        retries: whether tiles that failed are tried again in the next run.
        created_s, started_s, ended_s: in seconds since 1970, 0 if that is to come.
    """

    id: str
    owner: str
    sources: list[str]
    is_upload: bool
    options: Options
    buffer_m: float | None = None
    key: str = ""
    fingerprint: str = ""
    state: JobState = JobState.WAITING
    problem: str = ""
    model: str = ""
    retries: bool = False
    created_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0

    def given(self, folder: Path) -> list[str]:
        """The sources as paths and URLs, of a job in ``folder``."""
        return [str(folder / source) for source in self.sources] if self.is_upload else self.sources

    @property
    def names(self) -> list[str]:
        """The sources as the client calls them."""
        if not self.is_upload:
            return self.sources
        return ["/".join(PurePosixPath(source).parts[NAME_PART:]) for source in self.sources]

    def named(self, found: Iterable[Source]) -> Iterator[Source]:
        """The files of ``given``, by the names under which they were uploaded."""
        return (replace(source, name=name) for name, source in zip(self.names, found, strict=True))

    def write(self, folder: Path) -> None:
        """Keep it in ``folder``, whole or not at all, also if the machine fails."""
        partial = folder / f".{FILE}"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> "Job":
        """The job in ``folder``; raises BadRequest if there is none that this version reads."""
        try:
            found = json.loads((folder / FILE).read_text(encoding="utf-8"))
            options = Options(**found.pop("options"))
            return cls(**found | {"options": options, "state": JobState(found["state"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadRequest(f"{folder} holds no job that this version of pointserve reads: {error}.") from error
