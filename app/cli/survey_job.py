"""``pointserve batch --url``: a server labels the survey, as a job."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from pointserve_client import PATIENCE_S, Client, NotFound

from app.errors import BadRequest, Problem, some_of
from app.survey.job_sources import JobSources
from app.survey.lock import lock_of
from app.survey.manifest import FILE as MANIFEST
from app.survey.ticket import Ticket

from . import survey_progress
from .survey_fetch import fetch
from .terminal import messages, results, warn
from .waits import asking, warn_once

ENDED = ("done", "failed")
NOT_LABELLED = ("failed", "quarantined")


def run(
    given: Sequence[str],
    out: Path,
    url: str,
    key: str,
    options: Mapping[str, str],
    buffer_m: float | None,
    retry_failed: bool,
    force: bool,
) -> int:
    """Have the server at ``url`` label the sources ``given``, and bring the answers to ``out``; the exit code.

    A job that ``out`` waits for already is waited for on, unless ``force``. Raises Problem.
    """
    if (out / MANIFEST).exists():
        raise BadRequest(f"{out} holds a survey that was labelled by this machine: name another folder.")
    with messages.status("looking at the files"):
        sources = JobSources.of(given, out)
    lock = lock_of(out)
    try:
        with Client(url, key, on_wait=warn_once(url, PATIENCE_S)) as client:
            about = {"url": url, "options": dict(options), "buffer": buffer_m}
            survey = RemoteSurvey(client, out, url, sources, sources.digest(about))
            with survey_progress.signals_call(survey_progress.interrupt) as signals:
                try:
                    with asking():
                        return survey.run(options, buffer_m, retry_failed, force)
                except KeyboardInterrupt:
                    survey.say_how_to_go_on()
                    return 128 + signals[0]
                except Problem:
                    survey.say_how_to_go_on()
                    raise
    finally:
        os.close(lock)


class RemoteSurvey:
    """The way of one survey to a server and back."""

    def __init__(self, client: Client, out: Path, url: str, sources: JobSources, asked: str):
        self._client = client
        self._out = out
        self._sources = sources
        self._new = Ticket(url, asked, str(uuid4()))
        self._ticket = self._new

    def run(self, options: Mapping[str, str], buffer_m: float | None, retry_failed: bool, force: bool) -> int:
        """Submit, wait and fetch, as far as that is not done; the exit code."""
        kept = Ticket.read(self._out)
        if kept and kept.asked != self._new.asked and not kept.is_over and not force:
            raise BadRequest(
                f"{self._out} waits for a job of {kept.url} that was asked for in another way, or whose files have "
                "changed since: give the same sources and options, or name another folder; --force gives it up."
            )
        job = None
        if kept and kept.asked == self._new.asked and not force:
            self._ticket = kept
            job = self._found()
            lost = kept.lost(self._out) if job is None else []
            if lost:
                warn(
                    f"{some_of(lost)}: not there any more, and the server does not keep the job. It is submitted again."
                )
            elif job is None and kept.num_failed is not None and not (retry_failed and kept.num_failed):
                failed = f"{kept.num_failed:,} files have no answer: --retry-failed sends all of them again"
                done = "All files were labelled before"
                about = f"{failed if kept.num_failed else done}. The server does not keep the job any more."
                results.print(about, markup=False, soft_wrap=True)
                return 1 if kept.num_failed else 0
        elif kept and kept.id and kept.url == self._new.url:
            with suppress(NotFound):
                self._client.remove_job(kept.id)
        if job is None:
            job = self._submitted(options, buffer_m)
        elif job["state"] == "failed" or (job["state"] in ENDED and retry_failed and _num_failed(job)):
            job = self._client.retry_job(job["id"])
            self._keep(num_failed=None, answers={})
        job = self._waited(job["id"])
        answers = fetch(self._client, job["id"], self._out)
        num_failed = _num_failed(job) + len(self._sources.lost)
        if job["state"] == "done":
            self._keep(num_failed=num_failed, answers=answers)
        self._sum_up(job)
        if job["state"] == "done" and not _num_failed(job):  # else it can be tried again
            self._remove(job["id"])
        return 1 if num_failed or job["state"] != "done" else 0

    def say_how_to_go_on(self) -> None:
        """What becomes of the job if the command ends now."""
        if self._ticket.id and not self._ticket.is_over:
            warn(f"The job {self._ticket.id} is with {self._ticket.url}. The same command goes on with it.")

    def _found(self) -> dict[str, Any] | None:
        """The job of the ticket; None if there is none, or none any more."""
        if self._ticket.id:
            with suppress(NotFound):
                return self._client.job(self._ticket.id)
            if not self._ticket.is_over:
                warn(f"The job {self._ticket.id} is not there any more. It is submitted again.")
            self._ticket = self._new if not self._ticket.is_over else replace(self._ticket, key=self._new.key)
        return None

    def _submitted(self, options: Mapping[str, str], buffer_m: float | None) -> dict[str, Any]:
        about: dict[str, Any] = {**options, "buffer": buffer_m, "idempotency_key": self._ticket.key}
        self._keep(id="", num_failed=None, answers={})
        if self._sources.urls:
            job = self._client.submit_sources(self._sources.urls, **about)
        else:
            with messages.status("sending") as status:

                def on_sent(sent: int, total: int) -> None:
                    status.update(f"sending {len(self._sources.paths):,} files, {sent / max(1, total):.0%}")

                job = self._client.submit(self._sources.paths, on_sent=on_sent, **about)
        self._keep(id=job["id"])
        return job

    def _waited(self, job_id: str) -> dict[str, Any]:
        """The job once it has ended, with progress until then."""
        running: dict[str, None] = {}
        with survey_progress.shown() as show:

            def on_tile(tile: dict[str, Any]) -> None:
                if tile["state"] == "running":
                    running[tile["name"]] = None
                else:
                    running.pop(tile["name"], None)

            def on_job(job: dict[str, Any]) -> None:
                show(survey_progress.of_job(job, list(running)))

            return self._client.wait_job(job_id, on_job=on_job, on_tile=on_tile)

    def _remove(self, job_id: str) -> None:
        """Have the server remove the job, of which everything is here."""
        try:
            with asking(), suppress(NotFound):
                self._client.remove_job(job_id)
        except Problem as problem:
            warn(f"The job {job_id} could not be removed, and stays on the server until it expires: {problem.detail}")

    def _keep(self, **changes: Any) -> None:
        self._ticket = replace(self._ticket, **changes)
        self._ticket.write(self._out)

    def _sum_up(self, job: dict[str, Any]) -> None:
        """Print what is done, what failed and why."""
        tiles, lost = job["tiles"], self._sources.lost
        wanted = sum(tiles.values()) + len(lost)
        results.print(f"{tiles['done']:,} of {wanted:,} tiles are labelled.", markup=False)
        failures = [(each["state"], each["name"], each["error"]) for each in job["files"]]
        failures = [each for each in failures if each[0] in NOT_LABELLED]
        failures += [("failed", name, reason) for name, reason in lost.items()]
        survey_progress.list_failures(failures, _num_failed(job) + len(lost), f"GET /jobs/{job['id']}")
        if job["problem"]:
            warn(f"{job['problem']} The same command goes on from here.")


def _num_failed(job: dict[str, Any]) -> int:
    return sum(job["tiles"][state] for state in NOT_LABELLED)
