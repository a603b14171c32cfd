"""Figures of a load."""

import pytest

from app.bench.figures import figures
from app.bench.load import RequestSample
from app.bench.report import report
from app.bench.watch import ResourceSample, Watch


def found(seconds: float) -> dict:
    samples = [ResourceSample(share * seconds / 10, {"web": (100 + share) << 20}, 20) for share in range(11)]
    health = {"engines": []}
    watch = Watch("http://x", "", samples=samples, before=health, after=health)
    return figures([RequestSample("500", 0.1, 200, 500, True, {"network": 50.0})], seconds, watch)


@pytest.mark.parametrize(("seconds", "growth"), [(9, None), (600, 60)])
def test_growth_an_hour_is_told_after_a_minute(seconds, growth):
    told = found(seconds)
    assert told["memory"]["web"].get("growth_an_hour") == pytest.approx(growth)
    assert ("growth an hour" in report(told)) == (growth is not None)
