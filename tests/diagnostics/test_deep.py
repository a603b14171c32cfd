"""The deep report: every operator and the bundled model, run and timed in processes of their own."""

import io
import json
import os
import subprocess
import sys
import time

import pointops
import pytest
import sparseops
from rich.console import Console

from app.diagnostics import forward, report, table, timings
from app.diagnostics.attempt import Attempt
from app.diagnostics.libraries import entry, timed
from app.diagnostics.problems import problems
from app.settings import DEFAULTS

NOT_TIMED = {  # containers and constants, another name of an operator, and several calls in one
    "ARCHITECTURES",
    "AttentionBlock",
    "AttentionBlocks",
    "BatchNormWeights",
    "COORD_LIMIT",
    "CURVES",
    "CloudExtents",
    "Clustering",
    "CoarseLevel",
    "GridSample",
    "HASHES",
    "KernelMap",
    "LevelPatches",
    "LinearWeights",
    "NormWeights",
    "OrderedVoxels",
    "PackedWeight",
    "PatchPadding",
    "PoolingStep",
    "ResidualBlock",
    "ResidualBlocks",
    "Serialization",
    "UnpoolingStep",
    "interpolation2",
    "level_patches",
    "ordered_voxels",
    "submanifold_maps",
}


@pytest.fixture(scope="module")
def deep():
    """Exit code and report of a process."""
    command = [sys.executable, "-m", "app.diagnostics", "--json", "--deep"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    return done.returncode, json.loads(done.stdout)


def test_every_operator_and_the_model_are_run_and_timed(deep):
    code, facts = deep
    assert code == 0, facts["problems"]
    assert [library["name"] for library in facts["timings"]] == ["sparseops", "pointops", "pointgroup_ops"]
    for library in facts["timings"]:
        public = set(__import__(library["name"]).__all__) - NOT_TIMED
        works = [work for work in library["operators"] if work["device"] == "cpu"]
        assert {work["operator"].partition(",")[0] for work in works} == public
        assert all(work["ok"] and work["ms"] > 0 for work in works)
    (passed, *_) = facts["forward"]
    assert (passed["device"], passed["precision"], passed["ok"]) == ("cpu", "fp32", True)
    assert passed["model"] == "aerial-semseg-spunet-v1m1"
    assert passed["right"] > 0.9
    assert passed["ms"] > 0


def test_an_operator_that_is_wrong_is_found(monkeypatch):
    right = pointops.subtraction
    monkeypatch.setattr(pointops, "subtraction", lambda **given: right(**given) + 0.01)
    found = timed("pointops", Attempt(timings.time_library("pointops")))
    assert found["state"] == "broken"
    assert found["reason"].startswith("subtraction on cpu: off by 0.01")


def test_an_operator_that_fails_is_named_by_the_one_before(monkeypatch):
    def fail(**given):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(sparseops, "serialize", fail)
    found = timed("sparseops", Attempt(timings.time_library("sparseops")))
    assert "all on cpu: RuntimeError after serialization_depth: CUDA error" in found["reason"]


def test_a_model_that_answers_nonsense_is_found(monkeypatch):
    from app.pipeline.segmenter import Segmenter

    right = Segmenter.segment

    def wrong(self, tile):
        found = right(self, tile)
        found.labels[:] = found.labels[0]
        return found

    monkeypatch.setattr(Segmenter, "segment", wrong)
    (passed, *_) = forward.forward(DEFAULTS)
    assert not passed["ok"]
    assert "at least 90% should" in passed["reason"]


def test_a_gpu_takes_the_precision_of_the_service(monkeypatch):
    wanted = []

    def refuse(network, procedure, device, precision):
        wanted.append((device, precision))
        raise RuntimeError("no device")

    monkeypatch.setattr("app.pipeline.segmenter.Segmenter", refuse)
    monkeypatch.setattr(forward, "devices", lambda: ["cpu", "cuda:0"])
    found = forward.forward(DEFAULTS)
    assert wanted == [("cpu", "fp32"), ("cuda:0", "fp16")]
    assert [passed["precision"] for passed in found] == ["fp32", "fp16"]


def test_weights_that_cannot_be_read_are_a_problem(tmp_path, monkeypatch):
    (tmp_path / "safetensors").mkdir()
    (tmp_path / "safetensors/__init__.py").write_text("raise ImportError('no safetensors here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (failed,) = report._deep([])["forward"]
    assert not failed["ok"]
    assert "no safetensors here" in failed["reason"]


def test_it_is_bounded(monkeypatch):
    monkeypatch.setattr(report, "DEEP_LIMIT_S", 0.5)
    began_s = time.monotonic()
    facts = report._deep(["sparseops"])
    assert time.monotonic() - began_s < 10
    assert facts["timings"][0]["reason"] == "timing its operators gave no answer in the time allowed"
    assert "gave no answer" in facts["forward"][0]["reason"]


def test_as_text_with_what_failed(deep):
    facts = deep[1]
    wrong = {"device": "cuda:0", "ok": False, "reason": "RuntimeError: [out of memory]", "model": "m", "points": 1}
    facts = facts | {"forward": [*facts["forward"], wrong]}
    console = Console(width=200, record=True, file=io.StringIO())
    table.show(facts | {"problems": problems(facts, ())}, console)
    text = console.export_text()
    for part in ("sparseops.patch_attention", "pointops.knn_query", "pointgroup_ops.bfs_cluster", "forward pass"):
        assert part in text
    assert "forward pass on cuda:0: RuntimeError: [out of memory]" in text


def test_a_library_that_is_broken_is_one_problem(deep):
    facts = deep[1]
    check = {"device": "cuda:0", "operator": "all", "ok": False, "reason": "CUDA error: no kernel image is available"}
    found = next(entry for entry in facts["operators"] if entry["name"] == "pointops")
    broken = entry("pointops", Attempt(found | {"checks": [check]}), {})
    late = timed("pointops", Attempt([check]))
    assert late["fault"] == broken["fault"] == "architecture not compiled for this card"

    def named(operators):
        parts = [problem["part"] for problem in problems(facts | {"operators": operators, "timings": [late]}, ())]
        return [part for part in parts if "pointops" in part]

    assert named([broken]) == ["pointops"]
    assert named([found]) == ["timings of pointops"]


def test_a_library_that_dies():
    assert (
        timed("pointops", Attempt(reason="was ended by SIGSEGV"))["reason"]
        == "timing its operators was ended by SIGSEGV"
    )
