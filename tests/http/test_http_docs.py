"""Every endpoint is documented with an example, and every example runs as it stands."""

import html
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import laspy
import pytest

from app import create_app
from app.http.examples import BUNDLED, EXAMPLES, HOST
from app.settings import Settings
from tests.http.server import Server

UNDESCRIBED = {"GET /", "GET /docs", "GET /openapi.json"}
STRICT = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\nset -e\n'
ARGUMENT = re.compile(r"<(?:path:)?(\w+)>")
ALIAS = re.compile(r"\{filename\}|/versions/")  # files of pages, and second names of paths
NO_JSON = {
    "GET /",
    "GET /docs",
    "GET /metrics",
    "GET /samples/{name}.laz",
    "GET /jobs/{job_id}/result",
    "GET /jobs/{job_id}/result/{name}",
    "GET /jobs/{job_id}/events",
    "POST /jobs/{job_id}/retry",
    "DELETE /jobs/{job_id}",
    "GET /progress/{request_id}",
    "POST /models/{name}/unload",
    "POST /v2/repository/models/{name}/load",
    "POST /v2/repository/models/{name}/unload",
}


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the model that comes along, and jobs."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder / "stderr.log", models="", jobs_dir=folder / "jobs") as started:
        yield started.wait_ready()


@pytest.fixture(scope="module")
def shown(bundled: Server) -> dict[str, str]:
    """Examples by endpoint as a reader of /docs sees them."""
    page = bundled.get("/docs").text
    found = {}
    for section in re.findall(r"<section>(.*?)</section>", page, re.DOTALL):
        named = re.search(r'<h2><code class="\w+">(\w+)</code> <code>(.*?)</code></h2>', section)
        sources = re.findall(r'<pre class="example"[^>]*>(.*?)</pre>', section, re.DOTALL)
        names = [" ".join(named.groups())] if named else sorted(UNDESCRIBED)
        found |= dict(zip(names, map(html.unescape, sources), strict=False))
    return found


def run(script: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-c", STRICT + script], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_every_endpoint_has_an_example():
    application = create_app(Settings())
    spec = application.spec["paths"]
    described = {f"{method.upper()} {path}" for path, operations in spec.items() for method in operations}
    assert set(EXAMPLES) == described | UNDESCRIBED
    served = {
        f"{method} " + ARGUMENT.sub(r"{\1}", rule.rule)
        for rule in application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert {name for name in served if not ALIAS.search(name)} == set(EXAMPLES)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "POST /predict"])
def test_example_runs_as_it_stands(bundled: Server, shown: dict[str, str], tmp_path: Path, name: str):
    assert shown[name] == EXAMPLES[name].replace(HOST, bundled.url + "/")
    told = run(shown[name], tmp_path)
    assert told or list(tmp_path.iterdir())
    if name not in NO_JSON:
        json.loads(told)


def test_examples_of_predictions_run_and_give_what_they_say(shown: dict[str, str], tmp_path: Path):
    told = run(shown["POST /predict"], tmp_path)
    assert set(laspy.read(tmp_path / "classified.laz").classification) <= {2, 3, 5, 6, 7, 14}
    answer = json.loads((tmp_path / "town.json").read_text())
    assert len(answer["confidence"]) == answer["num_points"]
    assert '"num_points":3' in told
    assert told.count("x,y,z,label,class") == 2


def test_examples_of_the_description_are_the_same(bundled: Server):
    spec = bundled.get("/openapi.json").json()["paths"]
    told = {
        f"{method.upper()} {path}": operation["x-codeSamples"][0]["source"]
        for path, operations in spec.items()
        for method, operation in operations.items()
    }
    assert told == {name: text for name, text in EXAMPLES.items() if name not in UNDESCRIBED}


def test_every_answer_in_json_has_a_schema():
    answers = {
        (path, method, status): answer["content"]["application/json"]["schema"]
        for path, operations in create_app(Settings()).spec["paths"].items()
        for method, operation in operations.items()
        for status, answer in operation["responses"].items()
        if "application/json" in answer.get("content", {})
    }
    assert [place for place, schema in answers.items() if not schema] == []


def test_examples_name_a_model_of_the_server(server: Server):
    page = server.get("/docs").text
    name = server.get("/models").json()["models"][0]["name"]
    assert f"/models/{name}/reload" in page
    assert BUNDLED not in page
