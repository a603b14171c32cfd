"""The folder of jobs: one folder each, which outlives the process, within a bound of disk space."""

import fcntl
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog

from app.errors import BadRequest, Busy, Conflict, NoRoom, NotFound, NotReady
from app.settings import MIB
from app.survey.jobs import files
from app.survey.jobs.draft import RETRY_S, Draft, problem_of
from app.survey.jobs.job import ANSWERS, FILE, Job, JobState
from app.survey.jobs.once import Keys, Once

LOCK = ".lock"
NOT_WHOLE = ".receiving-"  # begins the name of what is no job yet
OURS = re.compile(rf"({re.escape(NOT_WHOLE)})?[0-9a-f]{{32}}")

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
        self._readers: Counter[str] = Counter()  # of the files of each
        self._keys = Keys()
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
            self._used |= {name: files.disk_bytes(self.folder / name) for name in jobs}
            self._jobs = jobs
        return True

    def _read(self) -> Iterator[Job]:
        for path in sorted(self.folder.iterdir()):
            if not OURS.fullmatch(path.name):
                continue
            if not (path / FILE).exists() or path.name.startswith(NOT_WHOLE):  # what was not whole, or was removed
                files.remove(path)
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

    def change(self, job: Job, **changes: Any) -> Job | None:
        """``job`` with ``changes`` to what it is now, which is kept; None if it was removed meanwhile."""
        with self._changed:
            now = self._there().get(job.id)
            if now is None:
                return None
            job = replace(now, **changes)
            try:
                job.write(self.folder_of(job))
            except OSError as error:
                raise problem_of(error) from error
            self._there()[job.id] = job
            self._changed.notify_all()
        return job

    def retry(self, job: Job) -> Job:
        """``job`` as it waits again, for its tiles that failed; raises NotEnded, or NotFound if it was removed."""
        with self._changed:
            job = self.get(job.id, job.owner)
            if not job.state.is_ended:
                raise NotEnded(f"The job is {job.state}; it can be tried again once it has ended.")
            return self.change(job, state=JobState.WAITING, retries=True, problem="", ended_s=0.0) or job

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

    @contextmanager
    def reading(self, job: Job) -> Iterator[None]:
        """Keeps the files of ``job`` until the context ends, also if it is removed or expires meanwhile."""
        with self._changed:
            self._readers[job.id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers[job.id] -= 1
                self._readers += Counter()  # drops those at 0
            if not self.is_there(job):
                self.clear(job)

    def clear(self, job: Job) -> None:
        """Remove the files of ``job``, which was removed, unless somebody reads them: the last reader does it then."""
        with self._changed:
            if self._readers[job.id]:
                return
        files.remove(self.folder_of(job))
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
        num_bytes = files.disk_bytes(self.folder_of(job))
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

    def once(self, once: Once | None) -> AbstractContextManager[Job | None]:
        """As ``Keys.held``, of the jobs that are kept."""
        return self._keys.held(once, self.all)

    @contextmanager
    def draft(self) -> Iterator[Draft]:
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
            raise problem_of(error) from error
        finally:
            if draft.folder.exists():
                shutil.rmtree(draft.folder, ignore_errors=True)
                with self._changed:
                    self._used.pop(name, None)

    def add(self, draft: Draft, job: Job) -> None:
        """Make ``draft`` the job ``job``, which waits from now on."""
        job.write(draft.folder)
        with self._changed:
            draft.folder.rename(self.folder_of(job))
            self._there()[job.id] = job
            self._changed.notify_all()

    def count(self, name: str, num_bytes: int) -> None:
        """So many bytes more of the job ``name``, or of the job to be, are on the disk."""
        with self._changed:
            if name in self._used:
                self._used[name] += num_bytes

    def _there(self) -> dict[str, Job]:
        if self._jobs is None:
            raise NotReady(f"Another process works on the jobs in {self.folder}, or they are being read.")
        return self._jobs
