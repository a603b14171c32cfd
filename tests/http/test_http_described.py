"""Requests made up from the OpenAPI description, right and wrong ones, against a running service."""

from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app import create_app
from app.settings import Settings
from tests.http import clouds
from tests.http.server import MODEL, Server, descendants, runs

EXAMPLES = 15  # of an operation, and four times as many where it has a body
CHECKS = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
ABOUT_THE_FILE = ("format", "columns", "filename", "model", "condition", "units", "classification_to")
NEEDING_CODES = ("noise", "vegetation_heights", "preserve", "only", "preserve_flags", "within", "classes")
OPERATIONS = [found.ok() for found in schemathesis.openapi.from_dict(create_app(Settings()).spec).get_all_operations()]
WITH_OPTIONS = [operation for operation in OPERATIONS if operation.body or operation.query]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may lose no process."""
    with Server(tmp_path_factory.mktemp("described") / "stderr.log", max_points=100_000) as started:
        family = descendants(started.wait_ready().process.pid)
        yield started
        assert all(runs(pid) for pid in family)
        health = started.get("/health").json()
        assert (health["readers_lost"], health["engines"][0]["restarts"], health["quarantined"]) == (0, {}, 0)


def statuses(operation, mode: GenerationMode, service: Server) -> Counter:
    """Of the answers to requests made up for ``operation``; each is checked.

    Half of the requests name the model that is there, but for those that would unload it, and bring a cloud.
    """
    found = Counter()

    @given(case=operation.as_strategy(generation_mode=mode), is_real=st.booleans())
    @settings(
        max_examples=4 * EXAMPLES if operation.body else EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def send(case, is_real):
        if is_real and "name" in case.path_parameters and not operation.path.endswith("load"):
            case.path_parameters["name"] = MODEL.name
        if is_real and operation.path == "/predict":
            case.media_type, case.body = "application/json", clouds.json_cloud(slice(50))
            left_out = {*ABOUT_THE_FILE, *NEEDING_CODES, "timeout_s"}  # neither has codes; time may be short
            case.query = {name: value for name, value in case.query.items() if name not in left_out}
        if operation.path == "/diagnostics" and case.query.get("deep") == "1":
            case.query = {}  # a deep report takes long; the tests of resources ask for it
        answer = case.call(base_url=service.url, timeout=300)
        found[answer.status_code] += 1
        assert answer.status_code not in (500, 501, 502)
        case.validate_response(answer, checks=CHECKS)

    send()
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_answers_to_right_requests_are_described(operation, service: Server):
    found = statuses(operation, GenerationMode.POSITIVE, service)
    if operation.path == "/predict":
        assert found[200] > 3, found


@pytest.mark.parametrize("operation", WITH_OPTIONS, ids=lambda operation: operation.label)
def test_answers_to_wrong_requests_are_described(operation, service: Server):
    found = statuses(operation, GenerationMode.NEGATIVE, service)
    assert sum(found[status] for status in range(400, 500)) > (EXAMPLES if operation.body else 0), found
