"""POST /jobs and its kin: surveys that the service labels while nobody waits on a connection."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from apiflask import APIBlueprint
from flask import Response, g, request

from app.errors import BadRequest, Busy, NotFound, quoted
from app.http.front.descriptors import check_left
from app.http.jobs.answers import Answers, named
from app.http.jobs.described import JobDetails, JobReport, Jobs, details_of, report_of
from app.http.jobs.events import MEDIA_TYPE, events_of
from app.http.jobs.received import job_of, once_of, receive
from app.http.jobs.result import result_of, sent_from
from app.http.jobs.shown import is_asked, shown
from app.http.openapi import files, job_responses, problems, responses, result_responses
from app.http.state import LONG_REQUESTS, state
from app.http.trace import note
from app.survey.jobs import refusal
from app.survey.jobs.job import Job
from app.survey.jobs.once import Once
from app.survey.jobs.queue import JobQueue

OFF = "There are no jobs on this server: its operator gives them a folder in POINTSERVE_JOBS_DIR."
RETRY_S = 10.0
REDIRECTED = {307: {"description": "The file is in an object store: Location is a link that works for a while"}}

blueprint = APIBlueprint("jobs", __name__)
_places = threading.BoundedSemaphore(LONG_REQUESTS)


@blueprint.post("/jobs")
@blueprint.doc(responses=job_responses(JobReport, 201, 401, 403, 404, 409, 413, 415, 422, 429, 507))
def submit() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Label files while nobody waits: an upload, or places that the operator allows"""
    jobs = _jobs()
    once = once_of(request, g.owner)
    with jobs.store.once(once) as made_before:
        job = made_before or _received(jobs, once)
    note(job=job.id)
    return asdict(report_of(jobs, job)), 201, {"Location": f"{request.script_root}/jobs/{job.id}"}


def _received(jobs: JobQueue, once: Once | None) -> Job:
    """The job that the request at hand asks for, which waits from now on."""
    jobs.store.check_room(request.content_length or 1)
    with _place(), jobs.store.draft() as draft:
        wish = receive(request, draft, partial(refusal.check, state().service))
        for source in wish.sources:
            jobs.allowed.check_source(source)
        job = job_of(draft, wish, g.owner, once, time.time())
        jobs.store.add(draft, job)
    return job


@blueprint.get("/jobs")
@blueprint.doc(responses=responses(Jobs, 404))
def listed() -> dict[str, Any]:
    """The jobs of the key that asks"""
    jobs = _jobs()
    return asdict(Jobs([report_of(jobs, job) for job in jobs.store.all() if job.owner == g.owner]))


@blueprint.get("/jobs/<job_id>")
@blueprint.doc(responses=responses(JobDetails, 404))
def described(job_id: str) -> dict[str, Any]:
    """How far a job is, in all and by tile"""
    jobs = _jobs()
    return asdict(details_of(jobs, _job(jobs, job_id), _after()))


@blueprint.get("/jobs/<job_id>/result")
@blueprint.doc(responses=result_responses(Answers, 404, 409, 429))
def result(job_id: str) -> Response:
    """The answers of a job that has ended"""
    jobs = _jobs()
    with ExitStack() as stack:
        stack.enter_context(_place())
        job = _job(jobs, job_id)
        stack.enter_context(jobs.store.reading(job))
        response = result_of(jobs.store, job, _wants_list(), state().settings.jobs_link_s)
        response.call_on_close(stack.pop_all().close)
    return response


@blueprint.get("/jobs/<job_id>/result/<path:name>")
@blueprint.doc(
    responses=REDIRECTED | files("The file, as the list of answers names it", 404, 413, 415, 422, 429, 504, 507)
)
def result_file(job_id: str, name: str) -> Response:
    """One of the answers of a job, or report.html or survey.vpc, which show all"""
    jobs = _jobs()
    with ExitStack() as stack:
        stack.enter_context(_place())
        job = _job(jobs, job_id)
        stack.enter_context(jobs.store.reading(job))
        place = named(jobs.store, job, name)
        if is_asked(request.args):
            response = shown(jobs.store, job, place)
        else:
            response = sent_from(place, state().settings.jobs_link_s)
        response.call_on_close(stack.pop_all().close)
    return response


@blueprint.get("/jobs/<job_id>/events")
@blueprint.doc(responses=files("What happens, as server-sent events: tile, job, end", 404, 429, kind=MEDIA_TYPE))
def events(job_id: str) -> Response:
    """What happens to a job, as it happens"""
    jobs = _jobs()
    with ExitStack() as stack:
        stack.enter_context(_place())
        response = Response(events_of(jobs, _job(jobs, job_id)), mimetype=MEDIA_TYPE)
        response.headers["X-Accel-Buffering"] = "no"  # proxies hand on what is there
        response.call_on_close(stack.pop_all().close)
    return response


@blueprint.post("/jobs/<job_id>/retry")
@blueprint.doc(responses=responses(JobReport, 401, 403, 404, 409))
def retry(job_id: str) -> dict[str, Any]:
    """Try the files of a job again that failed"""
    jobs = _jobs()
    return asdict(report_of(jobs, jobs.store.retry(_job(jobs, job_id))))


@blueprint.delete("/jobs/<job_id>")
@blueprint.doc(responses={204: {"description": "It is gone"}, **problems(401, 403, 404)})
def remove(job_id: str) -> tuple[str, int]:
    """End a job, and remove its files and answers"""
    jobs = _jobs()
    jobs.store.remove(_job(jobs, job_id))
    return "", 204


def _jobs() -> JobQueue:
    """The jobs of this service; raises NotFound if it has none."""
    jobs = state().jobs
    if jobs is None:
        raise NotFound(OFF)
    return jobs


def _wants_list() -> bool:
    """Whether the request at hand asks for JSON rather than for files."""
    return request.accept_mimetypes.best_match(["application/zip", "application/json"]) == "application/json"


def _after() -> int:
    """The number of the file after which the request at hand asks for others, 0 for all; raises BadRequest."""
    text = request.args.get("after", "0")
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise BadRequest(f"after: {quoted(text)} is not accepted; expected the number of a file.")
    return int(text)


def _job(jobs: JobQueue, job_id: str) -> Job:
    note(job=job_id)
    jobs.store.expire()
    return jobs.store.get(job_id, g.owner)


@contextmanager
def _place() -> Iterator[None]:
    """A place among the requests that may take long, beside predictions; raises Busy if there is none."""
    check_left()
    if not _places.acquire(blocking=False):
        raise Busy("As many uploads, downloads and watchers of jobs are here as may be.", retry_after_s=RETRY_S)
    try:
        yield
    finally:
        _places.release()
