"""Goldens of single operators and the self-checks of /diagnostics, on a CUDA device."""

from pathlib import Path

import pytest

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.diagnostics.operators import check_library
from app.operators import LIBRARIES
from app.verify import verify

pytestmark = pytest.mark.gpu
GOLDEN = Path(__file__).parents[1] / "golden"


def test_operations_meet_their_goldens():
    results = list(verify(GOLDEN, only=("op_*", "serialization", "attention_padding"), device="cuda"))
    assert len(results) == 11
    assert {result.name: result.detail for result in results if result.verdict != "pass"} == {}


@pytest.mark.parametrize("library", LIBRARIES)
def test_self_checks(library):
    entry = check_library(library)
    assert len(entry["architectures"]) > 1
    assert {check["device"] for check in entry["checks"]} > {"cpu"}
    assert [check for check in entry["checks"] if not check["ok"]] == []
