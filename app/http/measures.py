"""What Prometheus reads: requests, stages, points, queue and engines of one web process."""

from collections.abc import Iterator

from apiflask import APIFlask
from flask import Response, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from app.engine.service import Answer, Service

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Measures:
    """Counters and gauges in a registry of their own."""

    def __init__(self, service: Service):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pointserve_requests", "Requests by path and status.", ["path", "status"], registry=self.registry
        )
        self.stages = Histogram(
            "pointserve_stage_seconds", "Time by stage.", ["stage"], buckets=SECONDS, registry=self.registry
        )
        self.points = Counter("pointserve_points", "Points classified, by model.", ["model"], registry=self.registry)
        self.registry.register(EngineCollector(service))

    def answered(self, answer: Answer) -> None:
        """Count one prediction."""
        self.points.labels(answer.model).inc(answer.num_points)
        for stage, ms in answer.timings_ms.items():
            self.stages.labels(stage).observe(ms / 1000)

    def register(self, app: APIFlask) -> None:
        """Count every answer of ``app``; paths that lead nowhere are counted as one."""

        @app.after_request
        def count(response: Response) -> Response:
            path = request.url_rule.rule if request.url_rule else "none"
            self.requests.labels(path, response.status_code).inc()
            return response


class EngineCollector(Collector):
    """Queue and engines, looked at when Prometheus asks."""

    def __init__(self, service: Service):
        self.service = service

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The gauges of this moment."""
        status = self.service.status()
        yield GaugeMetricFamily("pointserve_ready", "1 if predictions can be made.", status.state == "ready")
        yield GaugeMetricFamily("pointserve_queue_requests", "Requests admitted and not answered.", status.num_requests)
        yield GaugeMetricFamily("pointserve_queue_points", "Points waiting or being segmented.", status.num_points)
        yield CounterMetricFamily(
            "pointserve_readers_lost", "Reader processes that had to be replaced.", value=status.num_readers_lost
        )
        ready = GaugeMetricFamily("pointserve_engine_ready", "1 if the engine can take work.", labels=["device"])
        restarts = CounterMetricFamily("pointserve_engine_restarts", "Restarts of the engine.", labels=["device"])
        for engine in status.engines:
            ready.add_metric([engine.device], engine.state == "ready")
            restarts.add_metric([engine.device], engine.num_restarts)
        yield ready
        yield restarts
