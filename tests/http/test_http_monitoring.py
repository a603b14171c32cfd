"""Dashboard and alerts against what a running service measures: series, labels, values."""

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.http import clouds
from tests.http.server import ROOT, Server

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/dashboards/pointserve.json").read_text())
TARGETS = [(target["expr"], target["legendFormat"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
RULES = [
    (rule["expr"], rule["annotations"]["summary"])
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
SELECTOR = re.compile(r"(pointserve_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~?)"([^"]*)"')
FREE = {"path", "status"}  # labels whose values depend on what was asked


@pytest.fixture(scope="module")
def series(server: Server) -> dict[str, list[dict[str, str]]]:
    """Labels of every series by name, once something was predicted."""
    assert server.post(data=clouds.npy()).status_code == 200
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize(("expression", "legend"), TARGETS + RULES)
def test_every_series_and_label_that_is_named_exists(series, expression, legend):
    selectors = SELECTOR.findall(expression)
    assert selectors
    grouped = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}
    legends = set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", legend))
    for name, matchers in selectors:
        assert name in series
        labels = set().union(*series[name])
        assert grouped <= labels
        assert legends <= (grouped or labels)
        for label, operator, value in MATCHER.findall(matchers):
            assert label in labels
            values = value.split("|") if operator == "=~" else [value]
            assert label in FREE or set(values) <= {each.get(label) for each in series[name]}


def test_every_measure_is_on_the_dashboard_or_in_the_documents(series):
    text = (Path(ROOT) / "docs/operations.md").read_text()
    for name in series:
        if name.endswith("_created"):
            continue
        assert name in text or re.sub(r"_(bucket|sum|count)$", "", name) in text, name


def test_panels_stand_side_by_side():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


def test_phases_add_up_to_the_stages(server: Server):
    def seconds(name: str) -> float:
        families = text_string_to_metric_families(server.get("/metrics").text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    before = seconds("pointserve_phase_seconds_sum"), seconds("pointserve_stage_seconds_sum")
    assert server.post(data=clouds.npy()).status_code == 200
    after = seconds("pointserve_phase_seconds_sum"), seconds("pointserve_stage_seconds_sum")
    assert after[0] - before[0] == pytest.approx(after[1] - before[1])


def test_busy_seconds_grow_by_what_the_passes_took(server: Server):
    def busy_s(who: str) -> float:
        families = text_string_to_metric_families(server.get("/metrics").text)
        name = f"pointserve_{who}_busy_seconds_total"
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    before = busy_s("device"), busy_s("engine")
    timings_ms = server.post(json=clouds.json_cloud()).json()["timings_ms"]
    deadline_s = time.monotonic() + 10
    while busy_s("device") == before[0]:
        assert time.monotonic() < deadline_s
    after = busy_s("device"), busy_s("engine")
    assert after[0] - before[0] == pytest.approx(timings_ms["network"] / 1000, abs=1e-4)
    assert after[1] - before[1] >= after[0] - before[0]
