"""Options that a job is refused for."""

import pytest

from app.errors import BadRequest
from app.options import Mode, Options
from app.survey.jobs import refusal
from tests.engine.engine_samples import num_open_files

REFINED = {
    "smooth": 8,
    "sieve": 5,
    "min_confidence": 0.3,
    "noise": True,
    "vegetation_heights": "model",
    "ground": "file",
    "preserve": "6",
    "preserve_flags": "synthetic",
    "within": "0,0,9,9",
    "classes": "wire:15",
    "fields": "confidence,height_above_ground",
}


@pytest.mark.parametrize("mode", [*Mode])
def test_what_some_files_can_be_labelled_with_is_not_refused(service, mode):
    before = num_open_files()
    for options in (Options(mode=mode), Options(mode=mode, **REFINED), Options(mode=mode, output="laz", crs="EPSG:9")):
        refusal.check(service, options)
    assert num_open_files() == before


def test_nothing_is_refused_while_no_engine_can_tell(service, monkeypatch):
    options = Options(fields=("instances",))
    with pytest.raises(BadRequest, match="finds no instances"):
        refusal.check(service, options)
    monkeypatch.setattr(refusal, "WAIT_S", 1e-9)
    refusal.check(service, options)
