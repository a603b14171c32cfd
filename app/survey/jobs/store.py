"""The folder of jobs: one folder each, which outlives the process, within a bound of disk space."""

import fcntl
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from uuid import uuid4

import structlog

from app.errors import SHORT, BadRequest, Busy, Conflict, NoRoom, NotFound, NotReady, Problem
from app.settings import MIB
from app.survey.jobs.job import ANSWERS, FILE, UPLOADS, Job, JobState
from app.survey.lists import VPC_SUFFIX

LOCK = ".lock"
NOT_WHOLE = ".receiving-"  # begins the name of what is no job yet
OURS = re.compile(rf"({re.escape(NOT_WHOLE)})?[0-9a-f]{{32}}")
NAME_BYTES = 200
RETRY_S = 60.0

log = structlog.get_logger(__name__)


class NotEnded(Conflict):
    """What was asked of a job can be had once it has ended."""

    title = "Job not ended"


class Store:
    """The jobs in ``folder``; for any number of threads, of one process at a time."""

    def __init__(self, folder: Path, keep_s: float, disk_mib: int, most_waiting: int):
        """``keep_s``, ``disk_mib`` and ``most_waiting`` are as in ``Settings``."""
        self.folder = folder
        self._keep_s = keep_s
        self._most_bytes = disk_mib * MIB
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] | None = None  # None until they were read
        self._used: dict[str, int] = {}  # bytes of each, also of those that are being received
        self._lock = -1

    def open(self) -> bool:
        """Read the jobs of earlier processes; False if another process has the folder now.

        What ran when its process ended waits again. Raises NoRoom if the folder cannot be used.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise NoRoom(f"POINTSERVE_JOBS_DIR={self.folder} cannot be used: {error.strerror}.") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        jobs = {job.id: job for job in self._read()}
        with self._changed:
            self._used |= {name: _disk_bytes(self.folder / name) for name in jobs}
            self._jobs = jobs
        return True

    def _read(self) -> Iterator[Job]:
        for path in sorted(self.folder.iterdir()):
            if not OURS.fullmatch(path.name):
                continue
            if not (path / FILE).exists() or path.name.startswith(NOT_WHOLE):  # what was not whole, or was removed
                shutil.rmtree(path, ignore_errors=True)
            else:
                try:
                    job = Job.read(path)
                except BadRequest as problem:
                    log.error(problem.detail)
                    continue
                yield replace(job, id=path.name, state=JobState.WAITING) if job.state is JobState.RUNNING else job

    def close(self) -> None:
        """Leave the folder to another process."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def folder_of(self, job: Job) -> Path:
        """Where everything of ``job`` is."""
        return self.folder / job.id

    def answers_of(self, job: Job) -> Path:
        """Folder of the survey of ``job``, with its manifest and answers."""
        return self.folder / job.id / ANSWERS

    @property
    def used_bytes(self) -> int:
        """What all jobs take of the disk."""
        with self._changed:
            return sum(self._used.values())

    def disk_bytes(self, job: Job) -> int:
        """What ``job`` takes of the disk."""
        return self._used.get(job.id, 0)

    def expires_s(self, job: Job) -> float | None:
        """When ``job`` is removed, in seconds since 1970; None before its end."""
        return job.ended_s + self._keep_s if job.state.is_ended else None

    def all(self) -> list[Job]:
        """Every job, in the order in which they came. Raises NotReady while another process has the folder."""
        with self._changed:
            return sorted(self._there().values(), key=lambda job: job.created_s)

    def counts(self) -> Counter[JobState]:
        """Jobs by state."""
        with self._changed:
            return Counter(job.state for job in (self._jobs or {}).values())

    def get(self, name: str, owner: str) -> Job:
        """The job of that id; raises NotFound if ``owner`` has none."""
        with self._changed:
            job = self._there().get(name)
        if job is None or job.owner != owner:
            raise NotFound("There is no such job, or not any more: GET /jobs lists those that are kept.")
        return job

    def is_there(self, job: Job) -> bool:
        """Whether ``job`` was not removed."""
        with self._changed:
            return self._jobs is not None and job.id in self._jobs

    def put(self, job: Job) -> bool:
        """Keep ``job`` as it is now; False if it was removed meanwhile."""
        with self._changed:
            if job.id not in self._there():
                return False
            try:
                job.write(self.folder_of(job))
            except OSError as error:
                raise _problem(error) from error
            self._there()[job.id] = job
            self._changed.notify_all()
        return True

    def retry(self, job: Job) -> Job:
        """``job`` as it waits again, for its tiles that failed; raises NotEnded, or NotFound if it was removed."""
        with self._changed:
            job = self.get(job.id, job.owner)
            if not job.state.is_ended:
                raise NotEnded(f"The job is {job.state}; it can be tried again once it has ended.")
            job = replace(job, state=JobState.WAITING, retries=True, problem="", ended_s=0.0)
            self.put(job)
        return job

    def wait(self, timeout_s: float) -> None:
        """Return when a job changed, or after ``timeout_s``."""
        with self._changed:
            self._changed.wait(timeout_s)

    def remove(self, job: Job) -> None:
        """Remove ``job`` with all its files; whoever runs it ends that soon, and calls ``clear`` then."""
        with self._changed:
            now = self._there().pop(job.id, None)
            if now is None:
                return
            with suppress(OSError):
                (self.folder_of(job) / FILE).unlink()
            self._changed.notify_all()
        if now.state is not JobState.RUNNING:
            self.clear(job)

    def clear(self, job: Job) -> None:
        """Remove the files of ``job``, which was removed."""
        shutil.rmtree(self.folder_of(job), ignore_errors=True)
        with self._changed:
            self._used.pop(job.id, None)

    def expire(self) -> None:
        """Remove the jobs that were kept for long enough."""
        with self._changed:
            ended = [job for job in (self._jobs or {}).values() if job.state.is_ended]
        for job in ended:
            if job.ended_s + self._keep_s <= time.time():
                self.remove(job)

    def measure(self, job: Job) -> None:
        """Look how much ``job`` takes of the disk."""
        num_bytes = _disk_bytes(self.folder_of(job))
        with self._changed:
            if job.id in self._used:
                self._used[job.id] = num_bytes

    def check_room(self, more_bytes: int = 1) -> None:
        """Raise NoRoom if there is no room for ``more_bytes``."""
        with self._changed:
            used = sum(self._used.values())
        if self._most_bytes and used + more_bytes > self._most_bytes:
            raise NoRoom(
                f"Jobs take {used / MIB:,.1f} MiB of the {self._most_bytes // MIB:,} MiB that they may take on this "
                "server (POINTSERVE_JOBS_DISK_MIB). Delete those that are not needed any more (DELETE /jobs/ID), or "
                "wait until some expire.",
                retry_after_s=RETRY_S,
            )

    @contextmanager
    def draft(self) -> Iterator["Draft"]:
        """A job to be: what is written there is gone at the end unless it was added.

        Raises Busy if too many jobs wait, NoRoom if there is no room for any more.
        """
        self.expire()
        with self._changed:
            waiting = sum(not job.state.is_ended for job in self._there().values())
        if waiting >= self._most_waiting:
            raise Busy(f"{waiting} jobs wait or run, as many as may (POINTSERVE_JOBS_WAITING).", retry_after_s=RETRY_S)
        self.check_room()
        name = uuid4().hex
        draft = Draft(self, name, self.folder / f"{NOT_WHOLE}{name}")
        with self._changed:
            self._used[name] = 0
        try:
            draft.folder.mkdir()
            yield draft
        except OSError as error:
            raise _problem(error) from error
        finally:
            if draft.folder.exists():
                shutil.rmtree(draft.folder, ignore_errors=True)
                with self._changed:
                    self._used.pop(name, None)

    def add(self, draft: "Draft", job: Job) -> None:
        """Make ``draft`` the job ``job``, which waits from now on."""
        job.write(draft.folder)
        with self._changed:
            draft.folder.rename(self.folder_of(job))
            self._there()[job.id] = job
            self._changed.notify_all()

    def count(self, name: str, num_bytes: int) -> None:
        """So many bytes more of the job to be ``name`` are on the disk."""
        with self._changed:
            self._used[name] += num_bytes

    def _there(self) -> dict[str, Job]:
        if self._jobs is None:
            raise NotReady(f"Another process works on the jobs in {self.folder}, or they are being read.")
        return self._jobs


class Draft:
    """A job that is being received.

    Attributes:
        store: where it will be.
        id: of the job.
        folder: where it is until then.
        files: paths in that folder.
    """

    def __init__(self, store: Store, name: str, folder: Path):
        self.store = store
        self.id = name
        self.folder = folder
        self.files: list[str] = []

    def file(self, name: str) -> "DraftFile":
        """A file that a client calls ``name``, to be written; raises BadRequest for a list of other files."""
        if name.lower().endswith(VPC_SUFFIX):
            raise BadRequest("A virtual point cloud names files by paths: send the files themselves.")
        place = PurePosixPath(UPLOADS, str(len(self.files)), _safe(name))
        self.files.append(str(place))
        path = self.folder / place
        path.parent.mkdir(parents=True)
        return DraftFile(self, path)


class DraftFile:
    """A file of a job that is being received.

    Attributes:
        name: of the file.
        size: bytes written so far.
    """

    def __init__(self, draft: Draft, path: Path):
        self.name = path.name
        self.size = 0
        self._draft = draft
        self._file = path.open("xb")

    def write(self, data: bytes) -> int:
        """Write all of ``data``; raises NoRoom."""
        self._draft.store.check_room(len(data))
        try:
            self._file.write(data)
        except OSError as error:
            raise _problem(error) from error
        self._draft.store.count(self._draft.id, len(data))
        self.size += len(data)
        return len(data)

    def close(self) -> None:
        """Nothing more is written; may be called twice."""
        self._file.close()


def _problem(error: OSError) -> Problem:
    reason = error.strerror or type(error).__name__
    if error.errno in SHORT:
        return NotReady(f"The server is short of resources for the job ({reason}); try again.", retry_after_s=5.0)
    return NoRoom(
        f"The server cannot keep the job: {reason}. Its operator finds the folder in POINTSERVE_JOBS_DIR.",
        retry_after_s=RETRY_S,
    )


def _safe(name: str) -> str:
    """The last part of a file's name as this machine can have it."""
    last = "".join(char for char in name.replace("\\", "/").rpartition("/")[2] if char.isprintable())
    last = last.encode("utf-8", "replace")[-NAME_BYTES:].decode("utf-8", "ignore").lstrip(".")
    return last or "cloud"


def _disk_bytes(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total
