"""Status of the service and of its engines at one moment."""

from dataclasses import dataclass, field
from typing import Literal

from app.engine.heartbeat import Memory

EngineState = Literal["ready", "starting", "paused", "failed", "stopped"]  # several engines have the first of theirs
ServiceState = Literal["stopped", "starting", "ready", "empty", "paused", "failed", "stopping"]
Stage = Literal["upload", "decode", "segment", "encode"]  # of a prediction


@dataclass(frozen=True)
class EngineStatus:
    """State of one engine; ``reason`` of the last trouble.

    ``state`` is paused if it was lost too often, failed if it cannot serve as things are; in both it is tried again in
    ``resumes_in_s``. ``restarts`` counts by what it was lost to: killed (by a signal),
    hung, device, exit, start. ``busy_s`` are seconds in which it had clouds, ``device_busy_s`` those of them in which
    its device ran the network.
    """

    device: str
    state: EngineState = "starting"
    reason: str = ""
    resumes_in_s: float = 0.0
    pid: int | None = None
    num_restarts: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    device_name: str = ""
    threads: int = 0
    busy_s: float = 0.0
    device_busy_s: float = 0.0
    memory: Memory = field(default_factory=Memory)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ServiceStatus:
    """State of the service; ``reason`` says why it is not ready.

    It is empty while its engines run but a request that names no model finds none. ``retry_after_s`` is when it may
    be ready; None if nobody knows.

    ``num_requests`` counts those admitted and not yet answered, ``num_points`` the points queued or being segmented,
    ``num_waiting`` the clouds that wait for an engine, ``num_readers_lost`` the reader processes that had to be
    replaced, ``refusals`` the requests that were answered 429 by what was full (requests, points, memory of the
    devices, host_memory for requests), ``num_quarantined`` the inputs that are not run any more.
    ``request_memory_bytes`` are the total that requests may take and what is used of it.
    """

    state: ServiceState
    reason: str
    engines: list[EngineStatus]
    num_requests: int
    num_points: int
    num_waiting: int
    num_readers_lost: int
    retry_after_s: float | None = None
    refusals: dict[str, int] = field(default_factory=dict)
    num_quarantined: int = 0
    request_memory_bytes: dict[str, int] = field(default_factory=dict)
