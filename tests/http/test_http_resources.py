"""Health, models, diagnostics, metrics, documentation, headers."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from app.http.report import DiagnosticsReport
from app.settings import Settings
from tests.http import clouds
from tests.http.server import Server


def samples(server: Server) -> dict[tuple, float]:
    response = server.get("/metrics")
    families = text_string_to_metric_families(response.text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_health(server: Server):
    body = server.get("/health").json()
    assert body["state"] == "ready"
    assert body["engines"]
    assert server.get("/health/live").status_code == server.get("/health/ready").status_code == 200


def test_health_answers_while_predictions_run(server: Server):
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(server.post, json=clouds.json_cloud()) for _ in range(4)]
        while not all(future.done() for future in running):
            assert requests.get(server.url + "/health", timeout=5).status_code == 200
    assert all(future.result().status_code == 200 for future in running)


def test_models(server: Server):
    (card,) = server.get("/models").json()["models"]
    assert card["num_classes"] == clouds.CLASSES == len(card["classes"])
    assert card["served"]
    assert server.get(f"/models/{card['name']}").json() == card


def test_diagnostics_come_from_a_child_and_are_kept_for_a_while(server: Server):
    first = server.get("/diagnostics")
    while first.status_code == 503:
        first = server.get("/diagnostics")
    assert first.status_code == 200, first.text
    assert {"python", "torch", "devices", "operators", "stack"} <= set(first.json())
    assert server.get("/diagnostics").content == first.content


def test_deep_diagnostics_are_gathered_beside_predictions(server: Server):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(requests.get, server.url + "/diagnostics?deep=1", timeout=300)
        while not asked.done():
            assert server.post(json=clouds.json_cloud()).status_code == 200
    facts = asked.result().json()
    assert facts["forward"][0]["ok"], facts["problems"]
    assert facts["timings"][0]["operators"][0]["ms"] > 0
    permitted = ",".join(
        f"somebody.module.function_{number}" for number in range(10_000)
    )  # more than an argument may be
    assert "timings" not in json.loads(DiagnosticsReport(Settings(permitted_names=permitted)).get())
    refused = server.get("/diagnostics?deep=yes")
    assert (refused.status_code, refused.json()["detail"]) == (400, "deep must be 0 or 1, got 'yes'.")


def test_diagnostics_are_those_of_this_package_wherever_the_server_was_started(tmp_path, monkeypatch):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").write_text("raise SystemExit('the wrong app')")
    monkeypatch.chdir(tmp_path)
    assert "devices" in json.loads(DiagnosticsReport(Settings()).get())


def test_metrics_count_requests_points_and_stages(server: Server):
    before = samples(server)
    answer = server.post(json=clouds.json_cloud())
    assert answer.status_code == 200
    server.get("/surely/not/there")
    after = samples(server)

    def grown(*key: object) -> float:
        return after[key] - before.get(key, 0)

    model = server.get("/models").json()["models"][0]["name"]
    assert grown("pointserve_requests_total", ("path", "/predict"), ("status", "200")) == 1
    assert grown("pointserve_requests_total", ("path", "none"), ("status", "404")) == 1
    assert grown("pointserve_points_total", ("model", model)) == 6000
    stages = re.findall(r"([\w-]+);dur=", answer.headers["Server-Timing"])
    assert stages
    assert all(grown("pointserve_stage_seconds_count", ("stage", stage)) == 1 for stage in stages)
    assert ("pointserve_queue_requests",) in after
    assert any(key[0] == "pointserve_engine_ready" and value == 1 for key, value in after.items())


def test_openapi_describes_every_path_and_option(server: Server):
    spec = server.get("/openapi.json").json()
    assert spec["openapi"].startswith("3.1")
    paths = {
        "/predict",
        "/health",
        "/health/live",
        "/health/ready",
        "/models",
        "/models/{name}",
        "/diagnostics",
        "/metrics",
    }
    assert paths <= set(spec["paths"])
    predict = spec["paths"]["/predict"]["post"]
    assert {"model", "mode", "format", "columns", "output", "fields", "seed"} <= {
        p["name"] for p in predict["parameters"]
    }
    assert {"multipart/form-data", "application/json", "application/octet-stream"} <= set(
        predict["requestBody"]["content"]
    )
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(spec)))
    assert references <= set(spec["components"]["schemas"])
    assert server.url not in json.dumps(spec)
    step = spec["components"]["schemas"]["StepCount"]["properties"]["step"]
    assert set(step["x-enumDescriptions"]) == set(step["enum"])
    wanted = next(p["schema"]["items"] for p in predict["parameters"] if p["name"] == "fields")
    assert set(wanted["x-enumDescriptions"]) == set(wanted["enum"])


def test_docs_load_nothing_from_elsewhere_and_run_no_script(server: Server):
    page = server.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    loaded = [urljoin(page.url, target) for target in re.findall(r'(?:src|href|action)="([^"]*)"', page.text)]
    assert all(target.startswith(f"{server.url}/") for target in loaded)
    assert "<script" not in page.text
    assert "/predict" in page.text
    for target in (target for target in loaded if target.endswith(".css")):
        assert requests.get(target, timeout=60).headers["Content-Type"].startswith("text/css")


def test_root_leads_to_the_docs(server: Server):
    response = server.get("/", allow_redirects=False)
    assert (response.status_code, urljoin(response.url, response.headers["Location"])) == (302, f"{server.url}/docs")
    assert response.json()["predict"] == "/predict"


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("", False)]
)
def test_request_id_is_kept_where_it_is_sane(server: Server, given: str, kept: bool):
    answered = server.get("/health", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert (answered == given) is kept
    assert answered


def test_headers_of_json_forbid_everything(server: Server):
    headers = server.get("/health").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_every_request_is_one_json_line_in_the_log(server: Server):
    server.post(json=clouds.json_cloud(), headers={"X-Request-Id": "look-for-me"})
    (line,) = server.wait_logged(id="look-for-me")
    assert (line["event"], line["path"], line["status"], line["points"]) == ("request", "/predict", 200, 6000)
    assert line["model"]
    assert line["ms"] > 0
