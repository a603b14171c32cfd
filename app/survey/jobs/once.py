"""Requests that a client may send twice, and that make one job: the key that it gives them.

As in the draft of the IETF, "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header-07).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.errors import Conflict, Problem
from app.survey.jobs.job import Job

RETRY_S = 5.0


class BeingReceived(Conflict):
    """A request with the same key is under way."""

    title = "Request under way"


class KeyUsed(Problem):
    """The key was that of a request that asked for something else."""

    status = 422
    title = "Idempotency-Key used before"


@dataclass(frozen=True)
class Once:
    """What makes two requests the same: their ``owner``, the ``key`` that the client gave them, and a ``fingerprint``
    of what they ask for."""

    owner: str
    key: str
    fingerprint: str


class Keys:
    """The keys of requests that are being received; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[tuple[str, str]] = set()

    @contextmanager
    def held(self, once: Once | None, jobs: Callable[[], list[Job]]) -> Iterator[Job | None]:
        """The one of ``jobs`` that a request as ``once`` made before, None if there is none; without ``once`` None.

        Until the context ends no other request gets that far. Raises BeingReceived if one is there already, KeyUsed if
        the job is that of another request.
        """
        if once is None:
            yield None
            return
        name = once.owner, once.key
        with self._lock:
            if name in self._held:
                raise BeingReceived("A request with this Idempotency-Key is being received.", retry_after_s=RETRY_S)
            self._held.add(name)
        try:
            job = next((job for job in jobs() if (job.owner, job.key) == name), None)
            if job and job.fingerprint != once.fingerprint:
                raise KeyUsed(
                    f"This Idempotency-Key is that of the job {job.id}, which another query or body asked for: a new "
                    "request needs a new key."
                )
            yield job
        finally:
            with self._lock:
                self._held.discard(name)
