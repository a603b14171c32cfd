"""traceparent in and out, and spans at a collector."""

import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.errors import BadRequest
from app.http.telemetry import check, parse
from tests.http import clouds
from tests.http.server import Server

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the spans."""

    def __init__(self):
        self.spans = []
        self.services = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
                    collector.services.add(attributes["service.name"])
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def wait(self, trace: str, num: int, limit_s: float = 30) -> list:
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            found = [span for span in list(self.spans) if span.trace_id.hex() == trace]
            if len(found) >= num:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{len(self.spans)} spans, {num} of {trace} expected")


@pytest.fixture(scope="module")
def collector():
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()


@pytest.fixture(scope="module")
def traced(collector, tmp_path_factory):
    log = tmp_path_factory.mktemp("traced") / "stderr.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with Server(log, traces=True) as started:
            yield started.wait_ready()


def test_a_trace_goes_on_in_the_answer_and_the_log(server: Server):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "traced"}
    told = server.get("/models", headers=headers).headers["traceparent"]
    trace, span = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01", told).groups()
    assert (trace, span != PARENT) == (TRACE, True)
    assert server.wait_logged(id="traced")[0]["trace_id"] == TRACE


def test_a_request_without_a_trace_begins_one_that_nobody_records(server: Server):
    first, second = (server.get("/nowhere").headers["traceparent"] for _ in range(2))
    assert first != second
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", first)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_traceparents_that_are_none(header):
    assert parse(header) is None


def test_later_versions_may_say_more():
    assert parse(f"01-{TRACE}-{PARENT}-01-more").trace_id == TRACE


def test_traces_without_opentelemetry_are_refused_at_the_start(monkeypatch):
    check(True)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    check(False)
    with pytest.raises(BadRequest, match="-m pip install opentelemetry-sdk"):
        check(True)


def test_spans_of_a_prediction_and_its_stages(traced: Server, collector: Collector):
    answer = traced.post(data=clouds.npy(), headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    stages = answer.json()["timings_ms"]
    spans = {span.name: span for span in collector.wait(TRACE, len(stages) + 2)}
    request = spans.pop("POST /predict")
    assert request.parent_span_id.hex() == PARENT
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.span_id.hex()}-01"
    told = {each.key: each.value for each in request.attributes}
    assert told["http.response.status_code"].int_value == 200
    assert told["pointserve.points"].int_value == len(clouds.LABELS)
    assert set(spans) == {*stages, "encode"}
    assert all(span.parent_span_id == request.span_id for span in spans.values())
    assert all(
        request.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano for span in spans.values()
    )
    assert collector.services == {"pointserve"}


def test_spans_of_errors(traced: Server, collector: Collector):
    trace = TRACE[::-1]
    assert traced.get("/nowhere", headers={"traceparent": f"00-{trace}-{PARENT}-01"}).status_code == 404
    (span,) = collector.wait(trace, 1)
    assert span.name == "GET"


def test_spans_are_sent_before_the_end(traced: Server, collector: Collector):
    trace = "a" * 32
    traced.get("/models", headers={"traceparent": f"00-{trace}-{PARENT}-01"})
    assert traced.stop(60) == 0
    assert collector.wait(trace, 1, 1)[0].name == "GET /models"
