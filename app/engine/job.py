"""One cloud on its way through an engine, and what the engine made of it."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from enum import Enum
from uuid import uuid4

from app.clouds.cloud import SegmentationMeta
from app.engine.deadline import LATE, Deadline
from app.engine.packed import Packed
from app.engine.protocol import CloudMeta
from app.errors import Problem
from app.options import Options


class JobStatus(Enum):
    """State of a job. After its engine was lost, a job waits again."""

    WAITING = "waiting"  # for an engine
    RUNNING = "running"  # in an engine
    ABANDONED = "abandoned"  # in an engine, but nobody waits for its result any more
    DONE = "done"  # its result or problem is known


@dataclass(frozen=True)
class SegmentedCloud:
    """What an engine made of one cloud.

    Attributes:
        segmentation: owned by whoever holds this.
        num_voxels: of the cloud.
        batch_size: clouds in its pass.
        device_s: its part of the seconds that the device took for the network.
    """

    segmentation: Packed[SegmentationMeta]
    num_voxels: int = 0
    batch_size: int = 1
    device_s: float = 0.0


@dataclass(eq=False)
class CloudJob:
    """One cloud on its way through an engine.

    Attributes:
        cloud: owned by the job, closed as soon as no engine needs it any more.
        options: how to answer.
        deadline_s: in seconds of ``time.monotonic``.
        shares: whether it may go through the network together with others.
        need_bytes: estimate of the device memory that it takes in flight: its largest pass, and its points.
        losses: engines that were lost with it; after the first it goes without others.
        background_s: of one that waits behind all others, and is not counted among what waits: seconds that an engine
            has for it; its deadline is set when one takes it. 0 for others.
        engine: name of the one that took it last.
        status: set by the scheduler alone.
        result: the segmented cloud, or the problem that the job ended in.
        submitted_s, started_s: when it was queued and when an engine took it, in seconds of ``time.monotonic``.
    """

    cloud: Packed[CloudMeta]
    options: Options
    deadline_s: float
    shares: bool = False
    need_bytes: int = 0
    losses: int = 0
    background_s: float = 0.0
    engine: str = ""
    status: JobStatus = JobStatus.WAITING
    id: str = field(default_factory=lambda: uuid4().hex)
    result: "Future[SegmentedCloud]" = field(default_factory=Future)
    submitted_s: float = field(default_factory=time.monotonic)
    started_s: float = math.nan

    @property
    def num_points(self) -> int:
        """Points of the cloud."""
        return self.cloud.num_points

    @property
    def num_answered(self) -> int:
        """Points that the answer has a row for."""
        return self.cloud.num_points - self.cloud.meta.num_context

    def await_result(self, deadline: Deadline, abandon: Callable[[Problem], None]) -> SegmentedCloud:
        """Wait for the result; the segmentation is the caller's to close.

        Raises the problem that the job ended in, and DeadlineExceeded or ClientGone, which ``abandon`` gets first.
        """
        while True:
            try:
                return self.result.result(deadline.poll_s)
            except FutureTimeoutError:
                try:
                    deadline.check(LATE)
                except Problem as problem:
                    abandon(problem)
                    raise
