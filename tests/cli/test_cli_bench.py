"""pointserve bench against a real server."""

import json
import re
import subprocess
import sys

import pytest

from app.bench.clouds import CLOUDS_A_SIZE
from app.bench.processes import family
from tests.cli.cli_samples import ROOT, command, environment
from tests.http import clouds
from tests.http.server import Server, descendants


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("bench") / "stderr.log", queue_requests=4, batch_delay_ms=0) as server:
        yield server.wait_ready()


def figures(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def num_answered(server, name):
    return server.get(f"/v2/models/{name}/stats").json()["model_stats"][0]["inference_count"]


def test_closed_loop_counts_every_answer_and_compares_it(server, pointserve):
    options = ["--clients", 3, "--points", "500:3,2000", "--requests", 24, "--seconds", 60, "--json"]
    found = figures(pointserve("bench", server.url, *options))
    assert found["statuses"] == {"200": 24}
    assert found["wrong"] == 0
    assert set(found["clouds"]) == {"500", "2,000"}
    assert sum(speed["answers"] for speed in found["clouds"].values()) == found["answers"] == 24
    assert 0 < found["p50_s"] <= found["p95_s"] <= found["p99_s"] <= found["longest_s"]
    num_points = 500 * found["clouds"]["500"]["answers"] + 2000 * found["clouds"]["2,000"]["answers"]
    assert found["points_a_s"] == pytest.approx(num_points / found["elapsed_s"])
    assert {"decode", "network", "encode"} < set(found["stages_ms"])
    assert 0 < found["outside_pipeline"] < found["outside_network"] < 1
    (engine,) = found["engines"]
    assert 0 < engine["device_busy"] < engine["busy"] <= 1.01
    assert found["live"]["silent"] == 0


def test_memory_is_that_of_every_process_of_the_service(server, pointserve):
    kinds = family(server.get("/health").json()["engines"][0]["pid"])
    assert set(kinds) == {server.process.pid, *descendants(server.process.pid)}
    assert sorted(kinds.values()) == ["engines", "readers", "web", "web"]
    found = figures(pointserve("bench", server.url, "--points", 500, "--requests", 5, "--json"))["memory"]
    assert all(found[kind]["highest"] > 10 for kind in ("web", "readers", "engines"))
    assert found["open_files"]["last"] > 10
    assert family(1) == {}


def test_open_loop_sends_at_its_rate_whatever_is_answered(server, pointserve):
    found = figures(pointserve("bench", server.url, "--rate", 40, "--clients", 20, "--seconds", 2, "--json"))
    assert 40 <= sum(found["statuses"].values()) <= 140  # 80 on average
    assert set(found["statuses"]) <= {"200", "429"}


def test_refusals_are_counted_and_are_no_failure(server, pointserve):
    found = figures(pointserve("bench", server.url, "--rate", 500, "--clients", 30, "--seconds", 1, "--json"))
    assert found["statuses"]["429"] > 0
    assert found["answers"] == found["statuses"]["200"]


def test_files_are_sent_as_they_are(server, pointserve, tmp_path):
    (tmp_path / "room.ply").write_bytes(clouds.ply())
    done = pointserve("bench", server.url, tmp_path / "room.ply", "--requests", 3, "--clients", 1)
    assert done.returncode == 0, done.stderr
    assert "answers by status: 200: 3; wrong labels: 0" in done.stdout
    (row,) = re.findall(r"\| room.ply \| 3 \|.*", done.stdout)
    assert row.count("|") == done.stdout.splitlines()[2].count("|")
    (tmp_path / "broken.ply").write_bytes(clouds.ply()[:-7])
    done = pointserve("bench", server.url, tmp_path / "broken.ply", "--requests", 3)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pointserve: ")


def test_requests_that_fail_are_counted_and_the_command_with_them(server):
    name = server.get("/models").json()["models"][0]["name"]
    before = num_answered(server, name)
    arguments = ["bench", server.url, "--points", 500, "--clients", 2, "--requests", 300, "--json"]
    with subprocess.Popen(command(*arguments), env=environment(), cwd=ROOT, stdout=subprocess.PIPE) as running:
        while num_answered(server, name) <= before + CLOUDS_A_SIZE:
            assert running.poll() is None
        server.post(f"/models/{name}/unload")
        try:
            output, _ = running.communicate(timeout=60)
        finally:
            server.post(f"/models/{name}/load")
    assert running.returncode == 1
    statuses = json.loads(output)["statuses"]
    assert statuses["404"] > 0
    assert sum(statuses.values()) == 300


@pytest.mark.parametrize("points", ["many", "0", "10:0", "10:nan", ""])
def test_sizes_that_are_none(server, pointserve, points):
    done = pointserve("bench", server.url, "--points", points)
    assert done.returncode == 1
    assert "is no size" in done.stderr


def test_no_server(pointserve):
    done = pointserve("bench", "localhost:1")
    assert done.returncode == 1
    assert "expected http://" in done.stderr


def test_load_is_made_without_torch():
    code = "import sys, app.bench.report, app.bench.load, app.bench.watch; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "False"


def test_a_model_that_is_not_served_is_refused_with_those_that_are(server, pointserve):
    name = server.get("/models").json()["models"][0]["name"]
    done = pointserve("bench", server.url, "--model", "nobody")
    assert done.returncode == 1
    assert f"serves no model nobody; it serves {name}" in done.stderr


def test_a_service_without_a_model_is_told_in_one_sentence(server, pointserve):
    name = server.get("/models").json()["models"][0]["name"]
    server.post(f"/models/{name}/unload")
    try:
        done = pointserve("bench", server.url)
    finally:
        server.post(f"/models/{name}/load")
    assert done.returncode == 1
    assert f"pointserve: No model is loaded. POST /models/NAME/load loads one; NAME can be: {name}." in done.stderr
