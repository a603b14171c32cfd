import json

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.engine.answer import Answer
from app.http.measured import Measured
from app.http.statistics import ModelStatistics, Statistics


def measured(registry: CollectorRegistry, models: dict[str, ModelStatistics] | None = None) -> Measured:
    """As it arrives in another process."""
    return Measured.of(json.loads(json.dumps(Measured.of_families(registry.collect(), models or {}).told())))


def counted(paths: dict[str, int], seconds: list[float]) -> CollectorRegistry:
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests.", ["path"], registry=registry)
    histogram = Histogram("seconds", "Times.", buckets=[1, 2], registry=registry)
    for path, count in paths.items():
        counter.labels(path).inc(count)
    for value in seconds:
        histogram.observe(value)
    return registry


def test_sums_have_what_any_of_them_counted():
    here = counted({"/a": 1, "/b": 2}, [0.5])
    others = measured(counted({"/b": 3, "/c": 4}, [1.5, 5.0])).plus(measured(counted({"/c": 5}, [])))
    found = {}
    for family in here.collect():
        others.add_to(family)
        found |= {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}
    assert [found["requests_total", path] for path in ("/a", "/b", "/c")] == [1, 5, 9]
    assert [found["seconds_bucket", le] for le in ("1.0", "2.0", "+Inf")] == [1, 2, 3]
    assert (found["seconds_count",], found["seconds_sum",]) == (3, 7.0)


def test_statistics_of_models_are_summed():
    statistics = Statistics()
    for size in (1, 2, 2):
        timings = {"queue": 10.0, "network": 30.0}
        statistics.answered(Answer(-1, 0, "", "", [], num_points=5, model="m", timings_ms=timings, batch_size=size))
    statistics.failed("m", 0.5)
    other = measured(CollectorRegistry(), statistics.models)
    twice = statistics.of("m", other.plus(other).models["m"])
    once = statistics.of("m")
    assert twice["inference_count"] == 3 * once["inference_count"] == 9
    assert twice["inference_stats"]["fail"] == {"count": 3, "ns": 1_500_000_000}
    assert twice["inference_stats"]["compute_infer"] == {"count": 9, "ns": 270_000_000}
    assert [batch["compute_infer"]["count"] for batch in twice["batch_stats"]] == [3, 3]
