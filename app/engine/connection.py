"""A connection to an engine process: messages, and the watch over whether it still works."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.engine.channel import Channel, ChannelError, MessageTooLarge, close_all
from app.engine.heartbeat import Heartbeat
from app.engine.job import CloudJob, JobStatus, SegmentedCloud
from app.engine.model_card import ModelCard
from app.engine.packed import Packed, check_segmentation
from app.engine.protocol import (
    Batch,
    Configure,
    Failure,
    LoadModel,
    ModelCards,
    Ready,
    Segment,
    Segmented,
    UnloadModel,
)
from app.errors import NotReady, Problem

LOOK_S = 0.1  # how soon an engine hears that a job is cancelled
TAKE_S = 10.0  # for a message that has begun to arrive
START_S = 600.0
LOAD_S = 600.0
NAP_S = 2.0  # between two looks: this process was itself suspended
OVERRUN_S_A_POINT = 20e-6
DEVICE_STAGE = "network"  # of one batch at a time


class Hung(Exception):
    """The process lives but does not go on; the text says what it failed to do."""


@dataclass(frozen=True)
class HangLimits:
    """How long an engine may be silent, and how long a job may run on after its deadline."""

    silence_s: float
    overrun_s: float


class EngineConnection:
    """Messages over one lane of an engine process, for one thread, with one batch under way at a time.

    Methods raise ChannelError if the process is gone, Hung if it hangs.

    Attributes:
        channel: to the process; whoever made it closes it.
        lane: its number; the first one also says how the process starts and which models it has.
    """

    def __init__(self, channel: Channel, heartbeat: Heartbeat, lane: int, hang_limits: HangLimits):
        self.channel = channel
        self.lane = lane
        self._heartbeat = heartbeat
        self._shared = heartbeat.lanes[lane]
        self._hang_limits = hang_limits
        self._jobs: Sequence[CloudJob] = ()  # of the last batch
        self._num_sent = 0
        self._watched_since = self._last_look = time.monotonic()

    @property
    def unfinished(self) -> list[CloudJob]:
        """The jobs that the process was given and has not ended."""
        return [job for job in self._jobs if job.status is not JobStatus.DONE]

    @property
    def was_begun(self) -> bool:
        """Whether the process began to work on the last batch that it was sent."""
        return self._shared.num_begun == self._num_sent

    def check_heartbeat(self) -> None:
        """Raise Hung after too long a silence, as far as this process was awake itself to hear it."""
        now = time.monotonic()
        if now - self._last_look > NAP_S:
            self._watched_since = now
        self._last_look = now
        if min(self._heartbeat.silence_s, now - self._watched_since) > self._hang_limits.silence_s:
            raise Hung(f"gave no sign of life for {self._hang_limits.silence_s:g} s")

    def ready(self, configuration: Configure) -> tuple[Ready, list[int]]:
        """Have the process load its models as ``configuration`` says.

        Gives its answer with the descriptors of further lanes, which are the caller's. Raises NotReady if the process
        has nothing to serve.
        """
        until = time.monotonic() + START_S
        self.channel.send(configuration, deadline_s=until)  # read once the process has imported its libraries
        answer, fds = self._receive(until, "load its models")
        if isinstance(answer, Ready):
            return answer, fds
        close_all(fds)
        if isinstance(answer, Failure):
            raise NotReady(answer.detail)
        raise ChannelError(f"sent {type(answer).__name__} instead of Ready")

    def change(self, message: LoadModel | UnloadModel) -> list[ModelCard]:
        """Load or unload a model; gives the cards of all models after that. Raises the problem that the process met."""
        self.channel.send(message, deadline_s=time.monotonic() + TAKE_S)
        answer, _ = self._receive(time.monotonic() + LOAD_S, "load or unload a model")
        if isinstance(answer, Failure):
            raise answer.problem
        if not isinstance(answer, ModelCards):
            raise ChannelError(f"sent {type(answer).__name__} instead of ModelCards")
        return answer.models

    def serve(self, jobs: Sequence[CloudJob]) -> Iterator[tuple[CloudJob, SegmentedCloud | Problem]]:
        """Run ``jobs`` in the process, one after another if no message can hold them all; yields each with its outcome
        as soon as that is known, in any order."""
        self._jobs = jobs
        return self._serve(jobs)

    def _serve(self, jobs: Sequence[CloudJob]) -> Iterator[tuple[CloudJob, SegmentedCloud | Problem]]:
        try:
            self._send(jobs)
        except MessageTooLarge as problem:
            if len(jobs) == 1:
                yield jobs[0], problem
            else:
                for place in range(len(jobs)):
                    yield from self._serve(jobs[place : place + 1])
            return
        open_jobs = {job.id: job for job in jobs}
        while open_jobs:
            limit_s = min(self._limit_s(job) for job in open_jobs.values())
            answer, fds = self._receive(limit_s, "answer in the time for a request", lambda: self._cancel(jobs))
            job = open_jobs.pop(getattr(answer, "job_id", ""), None)
            try:
                if job is None:
                    raise ChannelError(f"sent {type(answer).__name__} for no job that it has")
                outcome = _outcome(answer, fds, job)
            except BaseException:
                close_all(fds)
                raise
            yield job, outcome

    def _send(self, jobs: Sequence[CloudJob]) -> None:
        """Send ``jobs`` as one batch; raises MessageTooLarge."""
        to_unix_s = time.time() - time.monotonic()
        batch = [
            Segment(job.id, job.options, job.cloud.layout, job.cloud.meta, job.deadline_s + to_unix_s) for job in jobs
        ]
        self._shared.clear_cancelled()
        self._num_sent += 1
        try:
            self.channel.send(Batch(batch), [job.cloud.fd for job in jobs], time.monotonic() + TAKE_S)
        except MessageTooLarge:
            self._num_sent -= 1
            raise

    def _limit_s(self, job: CloudJob) -> float:
        """Latest time for the answer to ``job``, in seconds of ``time.monotonic``."""
        begin_s = max(job.started_s, job.deadline_s)
        return begin_s + self._hang_limits.overrun_s + OVERRUN_S_A_POINT * job.num_points

    def _cancel(self, jobs: Sequence[CloudJob]) -> None:
        """Cancel the jobs of the batch that nobody waits for any more."""
        for index, job in enumerate(jobs):
            if job.status is JobStatus.ABANDONED:
                self._shared.cancel(index)

    def _receive(
        self, limit_s: float, what: str, meanwhile: Callable[[], None] = lambda: None
    ) -> tuple[Any, list[int]]:
        while not self.channel.wait(LOOK_S):
            meanwhile()
            self.check_heartbeat()
            if time.monotonic() > limit_s:
                raise Hung(f"did not {what}")
        return self.channel.receive(time.monotonic() + TAKE_S)


def _outcome(answer: object, fds: list[int], job: CloudJob) -> SegmentedCloud | Problem:
    """What ``answer`` says of ``job``; a segmentation owns its descriptor. Raises ChannelError if it is none."""
    if isinstance(answer, Failure) and not fds:
        return answer.problem
    if not isinstance(answer, Segmented) or len(fds) != 1:
        raise ChannelError(f"sent {type(answer).__name__} with {len(fds)} descriptors")
    segmentation = Packed(fds[0], answer.layout, answer.meta)
    try:
        check_segmentation(segmentation)
    except ValueError as error:
        raise ChannelError(f"sent a wrong segmentation: {error}") from error
    if segmentation.num_points != job.num_answered:
        raise ChannelError(f"sent {segmentation.num_points} labels for {job.num_answered} points")
    pass_ms = answer.meta.timings_ms.get(DEVICE_STAGE, 0.0)
    device_s = pass_ms / 1000 / answer.batch_size  # the times of a cloud are those of its whole pass
    return SegmentedCloud(segmentation, answer.num_voxels, answer.batch_size, device_s)
