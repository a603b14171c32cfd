"""One cloud on its way through an engine."""

import math
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from uuid import uuid4

from app.engine.packed import Packed
from app.engine.protocol import CloudMeta, SegmentationMeta
from app.options import Options


@dataclass(eq=False)
class CloudJob:
    """One cloud on its way through an engine.

    Attributes:
        cloud: owned by the job, closed as soon as no engine needs it any more.
        options: how to answer.
        deadline_s: in seconds of ``time.monotonic``.
        shares: whether it may go through the network together with others.
        need_bytes: estimate of the device memory that it takes.
        losses: engines that were lost with it; after the first it goes without others.
        abandoned: nobody waits for it any more.
        result: the packed segmentation, or the problem that the job ended in.
        submitted, started: when it was queued and when an engine took it, in seconds of ``time.monotonic``.
        num_voxels, batch_size: of the cloud, and clouds in its pass, once it is answered.
        device_s: its part of the seconds that the device took for plan and network, once it is answered.
    """

    cloud: Packed[CloudMeta]
    options: Options
    deadline_s: float
    shares: bool = False
    need_bytes: int = 0
    losses: int = 0
    abandoned: bool = False
    id: str = field(default_factory=lambda: uuid4().hex)
    result: "Future[Packed[SegmentationMeta]]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    started: float = math.nan
    num_voxels: int = 0
    batch_size: int = 1
    device_s: float = 0.0

    @property
    def num_points(self) -> int:
        """Points of the cloud."""
        return self.cloud.num_points
