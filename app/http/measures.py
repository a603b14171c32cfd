"""Prometheus metrics: requests, stages, points, queue and engines."""

import threading
from collections.abc import Iterator
from functools import cache
from typing import Protocol

from apiflask import APIFlask
from flask import Response, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.engine.service import Answer, Service
from app.http.measured import Measured
from app.http.statistics import ModelReport, Statistics, phases_s
from app.survey.jobs.job import JobState
from app.survey.jobs.queue import JobQueue

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
POINTS = (1e3, 1e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8)
CLOUDS = (1, 2, 4, 8, 16, 32, 64)
FULL = ("requests", "points", "memory", "host_memory")  # what ran out
RESTARTS = ("killed", "hung", "device", "exit", "start")


class Others(Protocol):
    """Other web processes."""

    @property
    def num_ready(self) -> int:
        """Those that take requests."""

    def measured(self) -> Measured:
        """What all of them have counted so far."""


class Measures:
    """Counters and gauges in a registry of their own, and the statistics of each model.

    Attributes:
        registry: the measures of all web processes.
    """

    def __init__(self, service: Service, jobs: JobQueue | None = None, others: Others | None = None):
        """``others`` are other web processes that answer predictions."""
        registry = CollectorRegistry()
        self.registry = JoinedRegistry(registry, others)
        self._others = others
        self.statistics = Statistics()
        self.requests = Counter(
            "pointserve_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self.stages = Histogram(
            "pointserve_stage_seconds", "Time by stage.", ["stage"], buckets=SECONDS, registry=registry
        )
        self.phases = Histogram(
            "pointserve_phase_seconds",
            "Time by phase: queue, preprocess, infer, postprocess, encode.",
            ["phase"],
            buckets=SECONDS,
            registry=registry,
        )
        self.points = Counter("pointserve_points", "Points classified, by model.", ["model"], registry=registry)
        self.voxels = Counter("pointserve_voxels", "Voxels of these points, by model.", ["model"], registry=registry)
        self.cloud_points = Histogram(
            "pointserve_cloud_points", "Points of a cloud.", buckets=POINTS, registry=registry
        )
        self.batch_clouds = Histogram(
            "pointserve_batch_clouds", "Clouds in the pass of a request.", buckets=CLOUDS, registry=registry
        )
        # what is counted under given labels, found faster than the library does
        self._request, self._stage = cache(self.requests.labels), cache(self.stages.labels)
        self._phase = cache(self.phases.labels)
        self._lock = threading.Lock()
        self._rejections = dict.fromkeys(("key", "rate", "origin"), 0)
        registry.register(EngineCollector(service, self))
        if jobs:
            registry.register(JobCollector(jobs))

    def answered(self, answer: Answer) -> None:
        """Count one prediction."""
        self.points.labels(answer.model).inc(answer.num_points)
        self.voxels.labels(answer.model).inc(answer.num_voxels)
        self.cloud_points.observe(answer.num_points)
        self.batch_clouds.observe(answer.batch_size)
        for stage, ms in answer.timings_ms.items():
            self._stage(stage).observe(ms / 1000)
        for phase, seconds in phases_s(answer.timings_ms).items():
            self._phase(phase).observe(seconds)
        self.statistics.answered(answer)

    def rejected(self, reason: str) -> None:
        """Count one request refused for ``reason``: key, rate, origin."""
        with self._lock:
            self._rejections[reason] += 1

    def of_model(self, name: str) -> ModelReport:
        """The statistics of the model ``name``."""
        return self.statistics.of(name, self._others.measured().models.get(name) if self._others else None)

    def told(self) -> Measured:
        """What was counted in this process."""
        counted = (
            self.requests,
            self.stages,
            self.phases,
            self.points,
            self.voxels,
            self.cloud_points,
            self.batch_clouds,
        )
        families = [family for each in counted for family in each.collect()]
        return Measured.of_families([*families, _rejections(self.rejections)], self.statistics.models)

    @property
    def rejections(self) -> dict[str, int]:
        """Requests refused so far, by reason."""
        return dict(self._rejections)

    def register(self, app: APIFlask) -> None:
        """Count every answer of ``app``; paths that lead nowhere are counted as one."""

        @app.after_request
        def count(response: Response) -> Response:
            path = request.url_rule.rule if request.url_rule else "none"
            self._request(path, response.status_code).inc()
            return response


class JobCollector(Collector):
    """Jobs, looked at when Prometheus asks."""

    def __init__(self, jobs: JobQueue):
        self.jobs = jobs

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Jobs, tiles and disk space of this moment."""
        states = self.jobs.store.counts()
        jobs = GaugeMetricFamily("pointserve_jobs", "Jobs that are kept, by state.", labels=["state"])
        for state in JobState:
            jobs.add_metric([str(state)], states[state])
        yield jobs
        yield GaugeMetricFamily("pointserve_jobs_disk_bytes", "Disk space of all jobs.", self.jobs.store.used_bytes)
        tiles = CounterMetricFamily("pointserve_job_tiles", "Tiles of jobs that ended, by state.", labels=["state"])
        for name, count in self.jobs.tiles.items():
            tiles.add_metric([name], count)
        yield tiles
        yield CounterMetricFamily("pointserve_job_points", "Points of these that were labelled.", self.jobs.points)


class EngineCollector(Collector):
    """Queue and engines, looked at when Prometheus asks."""

    def __init__(self, service: Service, measures: Measures):
        self.service = service
        self.measures = measures

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The gauges of this moment."""
        status = self.service.status()
        yield GaugeMetricFamily("pointserve_ready", "1 if predictions can be made.", status.state == "ready")
        yield GaugeMetricFamily("pointserve_queue_requests", "Requests admitted and not answered.", status.num_requests)
        yield GaugeMetricFamily("pointserve_queue_points", "Points waiting or being segmented.", status.num_points)
        request_memory = GaugeMetricFamily(
            "pointserve_request_memory_bytes", "Memory for requests: total, and used.", labels=["kind"]
        )
        for kind, num_bytes in status.request_memory_bytes.items():
            request_memory.add_metric([kind], num_bytes)
        yield request_memory
        yield GaugeMetricFamily("pointserve_quarantined", "Inputs that are not run any more.", status.num_quarantined)
        yield CounterMetricFamily(
            "pointserve_readers_lost", "Reader processes that had to be replaced.", value=status.num_readers_lost
        )
        yield _rejections(dict.fromkeys(FULL, 0) | status.refusals | self.measures.rejections)
        ready = GaugeMetricFamily("pointserve_engine_ready", "1 if the engine can take work.", labels=["device"])
        restarts = CounterMetricFamily(
            "pointserve_engine_restarts", "Restarts of the engine, by reason.", labels=["device", "reason"]
        )
        busy = CounterMetricFamily(
            "pointserve_engine_busy_seconds", "Seconds in which the engine had clouds.", labels=["device"]
        )
        device_busy = CounterMetricFamily(
            "pointserve_device_busy_seconds",
            "Seconds in which the device ran the network for clouds that were answered.",
            labels=["device"],
        )
        memory = GaugeMetricFamily(
            "pointserve_device_memory_bytes",
            "Memory of the device: total, used, and what of that are models.",
            labels=["device", "kind"],
        )
        for engine in status.engines:
            ready.add_metric([engine.device], engine.state == "ready")
            for reason in RESTARTS:
                restarts.add_metric([engine.device, reason], engine.restarts.get(reason, 0))
            busy.add_metric([engine.device], engine.busy_s)
            device_busy.add_metric([engine.device], engine.device_busy_s)
            for kind in ("total", "used", "models"):
                memory.add_metric([engine.device, kind], getattr(engine.memory, kind))
        yield ready
        yield restarts
        yield busy
        yield device_busy
        yield memory


class JoinedRegistry(Collector):
    """The measures of a registry, with what ``others`` have counted."""

    def __init__(self, registry: CollectorRegistry, others: Others | None):
        self._registry = registry
        self._others = others

    def collect(self) -> Iterator[Metric]:
        """All of them at this moment."""
        others = self._others.measured() if self._others else Measured()
        for family in self._registry.collect():
            others.add_to(family)
            yield family
        num_processes = 1 + (self._others.num_ready if self._others else 0)
        yield GaugeMetricFamily("pointserve_web_processes", "Web processes that take requests.", num_processes)


def _rejections(counts: dict[str, int]) -> CounterMetricFamily:
    rejections = CounterMetricFamily(
        "pointserve_rejections", "Requests refused before any work, by reason.", labels=["reason"]
    )
    for reason, count in counts.items():
        rejections.add_metric([reason], count)
    return rejections
