"""The thread that runs jobs, one after the other, by the readers and engines of the service in this process."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import structlog

from app.engine.service import Service
from app.errors import NoRoom, NotReady, Problem
from app.settings import Settings
from app.survey import headers, remote, sources, survey
from app.survey.answers import PARTIAL
from app.survey.big_tiles import BigTiles
from app.survey.jobs.allowed import Allowed
from app.survey.jobs.job import Job, JobState
from app.survey.jobs.store import Store
from app.survey.local import LocalWorkers
from app.survey.manifest import Manifest
from app.survey.plan import Plan, Wanted
from app.survey.progress import Progress
from app.survey.runner import Runner

LOOK_S = 0.5
MEASURE_S = 2.0  # between two looks at the disk while a job runs
AGAIN_S = 5.0  # before a job is tried again that the service was not ready for
REMOVED = "It was removed."

log = structlog.get_logger(__name__)


class JobQueue:
    """Runs the jobs of ``store``, those first that came first; what runs when the service stops goes on after its next
    start.

    Attributes:
        store: the jobs.
        allowed: what clients may name as sources.
        tiles: tiles that ended in this process, by ``done`` and ``failed``; ``points`` those labelled.
    """

    def __init__(self, service: Service, settings: Settings, folder: Path):
        """``settings`` are those of ``service``; ``folder`` is for the jobs."""
        self.store = Store(folder, settings.jobs_keep_s, settings.jobs_disk_mib, settings.jobs_waiting)
        self.allowed = Allowed(settings.jobs_roots, settings.jobs_urls)
        self.tiles = {"done": 0, "failed": 0}
        self.points = 0
        self._service = service
        self._settings = settings
        self._running: tuple[str, Progress] | None = None
        self._counted = Progress()  # what ``tiles`` and ``points`` hold of the run at hand
        self._measured_s = 0.0

    def start(self) -> None:
        """Begin, in a thread that ends when the service stops."""
        remote.refuse_redirects()
        threading.Thread(target=self._work, name="jobs", daemon=True).start()

    def progress(self, job: Job) -> Progress | None:
        """How far the run of ``job`` is; None if it does not run."""
        running = self._running
        return running[1] if running and running[0] == job.id else None

    @property
    def is_stopping(self) -> bool:
        """Whether the service stops, and no job goes on."""
        return self._service.status().state in ("stopping", "stopped")

    def _work(self) -> None:
        try:
            while not self._open():
                time.sleep(AGAIN_S)
            while not self.is_stopping:
                try:
                    self._step()
                except Problem as problem:  # the disk is full, or its folder is gone
                    log.error("a job waits", reason=problem.detail)
                    time.sleep(AGAIN_S)
        except Exception:
            log.exception("no jobs are run any more; a restart helps")
        finally:
            self.store.close()

    def _open(self) -> bool:
        """Whether the jobs are this process's now, or never will be."""
        try:
            if self.is_stopping or self.store.open():
                return True
            log.warning("another process works on the jobs", folder=str(self.store.folder))
        except NoRoom as problem:
            log.error(problem.detail)
        return False

    def _step(self) -> None:
        """Run the next job; wait a moment if there is none."""
        self.store.expire()
        job = next((job for job in self.store.all() if not job.state.is_ended), None) if self._is_ready else None
        if job is None:
            self.store.wait(LOOK_S)
        elif not self._run(job):
            self.store.wait(AGAIN_S)

    @property
    def _is_ready(self) -> bool:
        return self._service.status().state == "ready"

    def _run(self, job: Job) -> bool:
        """Run ``job`` to its end; False if the service was not ready for it, or stops."""
        started_s = job.started_s or time.time()
        running = self.store.change(job, state=JobState.RUNNING, problem="", started_s=started_s)
        if running is None:
            return True  # it was removed a moment ago
        state, problem = JobState.DONE, ""
        try:
            stopped = self._label(running)
            if self.is_stopping:
                raise NotReady(stopped)
            if stopped:
                state, problem = JobState.FAILED, stopped
        except Problem as reason:
            if self._is_ready:
                state, problem = JobState.FAILED, reason.detail
            else:
                log.warning("a job waits", job=job.id, reason=reason.detail)
                state = JobState.WAITING
        except Exception as error:
            log.exception("a job failed", job=job.id)
            state = JobState.FAILED
            problem = f"Something failed inside the server ({type(error).__name__}); its log says what."
        finally:
            self._running = None
        is_ended = state.is_ended
        ended_s, retries = (time.time(), False) if is_ended else (0.0, job.retries)
        if not self.store.change(job, state=state, problem=problem, retries=retries, ended_s=ended_s):
            self.store.clear(job)
        log.info("job", job=job.id, state=str(state), problem=problem)
        return is_ended

    def _label(self, job: Job) -> str:
        """Label the tiles of ``job``; why that ended before all was there, '' if it did not."""
        folder, out = self.store.folder_of(job), self.store.answers_of(job)
        target = f"{self._settings.jobs_store.rstrip('/')}/{job.id}" if self._settings.jobs_store else str(out)
        with Manifest.create(out) as manifest:
            found = sources.find(job.given(folder), target)
            named = job.named(found) if job.is_upload else self.allowed.checked(found)
            manifest.plan(headers.tiles(named, job.options))
            workers = LocalWorkers(self._service, self._settings, is_background=True)
            try:
                wanted = Wanted(target, job.options, buffer_m=job.buffer_m, retry_failed=job.retries)
                plan = Plan(manifest, workers.model(job.options), wanted)
                self.store.change(job, model=plan.model.name)
                survey.describe(manifest, plan)
                big_tiles = BigTiles(workers, out / PARTIAL, plan.buffer_m)
                runner = Runner(manifest, plan, big_tiles, lambda progress: self._look(job, runner))
                self._counted = Progress()
                self._running = job.id, runner.progress
                done = runner.run()
                self._count(done)
            finally:
                workers.stop()
            unwritten = survey.finish(manifest, target) if self.store.is_there(job) else []
            self.store.measure(job)
            return done.stopped or " ".join(unwritten)

    def _look(self, job: Job, runner: Runner) -> None:
        """End the run if its job was removed, the service stops, or the disk space for jobs is used up."""
        more_bytes = runner.progress.bytes_done - self._counted.bytes_done
        self._count(runner.progress)
        if not self.store.is_there(job):
            runner.stop(REMOVED)
        elif self.is_stopping:
            runner.stop()
        else:
            if not self._settings.jobs_store:
                self.store.count(job.id, more_bytes)
            if time.monotonic() - self._measured_s > MEASURE_S:
                self._measured_s = time.monotonic()
                self.store.expire()
                self.store.measure(job)
            try:
                self.store.check_room()
            except NoRoom as problem:
                runner.stop(problem.detail)

    def _count(self, now: Progress) -> None:
        self.tiles["done"] += now.num_done - self._counted.num_done
        self.tiles["failed"] += now.num_failed - self._counted.num_failed
        self.points += now.points_done - self._counted.points_done
        self._counted = replace(now)
