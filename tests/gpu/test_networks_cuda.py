"""Goldens of whole networks and experiments on a CUDA device, in every precision."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.verify import verify

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ("network", "experiment")


@pytest.fixture(autouse=True)
def exact_float32():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def results(precision: str):
    found = [result for result in verify(GOLDEN, device="cuda", precision=precision) if result.kind in KINDS]
    return {result.name: result for result in found if result.verdict != "not served"}


@pytest.mark.parametrize(("precision", "least"), [("fp32", 13), ("upstream", 13), ("fp16", 7), ("bf16", 7)])
def test_networks_meet_their_goldens(precision: str, least: int):
    found = results(precision)
    assert len(found) >= least
    assert {name: result for name, result in found.items() if result.verdict != "pass"} == {}
