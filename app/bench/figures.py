"""What a load showed, in numbers that JSON can hold."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.bench.load import RequestSample
from app.bench.watch import ResourceSample, Watch
from app.settings import MIB

PERCENTILES = (50, 95, 99)
NETWORK = ("voxelize", "plan", "network")
PIPELINE = ("features", *NETWORK, "project", "instances")
LEAST_SAMPLES = 3  # at memory, for a line through them
LEAST_S = 60.0  # of looking, for a growth an hour

Figures = dict[str, Any]


def figures(samples: Sequence[RequestSample], elapsed_s: float, watch: Watch) -> Figures:
    """Of all samples, and of each label by itself under ``clouds``."""
    labels = dict.fromkeys(sample.label for sample in samples)
    return {
        "elapsed_s": elapsed_s,
        "statuses": dict(sorted(Counter(str(sample.status) for sample in samples).items())),
        "wrong": sum(not sample.is_right for sample in samples),
        **_speed(samples, elapsed_s),
        **_overhead(samples),
        "clouds": {
            label: _speed([sample for sample in samples if sample.label == label], elapsed_s) for label in labels
        },
        "engines": _engines(watch, elapsed_s),
        "live": {"asked": len(watch.live_s), "longest_s": max(watch.live_s, default=0.0), "silent": watch.num_silences},
        "memory": _memory(watch.samples),
    }


def _speed(samples: Sequence[RequestSample], elapsed_s: float) -> Figures:
    good = [sample for sample in samples if sample.status == 200]
    seconds = [sample.seconds for sample in good]
    latency = {f"p{share}_s": float(np.percentile(seconds, share)) for share in PERCENTILES} if seconds else {}
    return {
        "answers": len(good),
        **latency,
        "longest_s": max(seconds, default=0.0),
        "requests_a_s": len(good) / elapsed_s,
        "points_a_s": sum(sample.num_points for sample in good) / elapsed_s,
    }


def _overhead(samples: Sequence[RequestSample]) -> Figures:
    """Mean milliseconds by stage, those of no stage (upload, answer, waits), and shares of all but the queue."""
    good = [sample for sample in samples if sample.status == 200]
    if not good:
        return {"stages_ms": {}, "outside_network": 0.0, "outside_pipeline": 0.0}
    names = dict.fromkeys(name for sample in good for name in sample.timings_ms)
    stages_ms = {name: sum(sample.timings_ms.get(name, 0.0) for sample in good) / len(good) for name in names}
    total_ms = 1000 * sum(sample.seconds for sample in good) / len(good)
    whole_ms = total_ms - stages_ms.get("queue", 0.0)

    def outside(stages: Sequence[str]) -> float:
        return 1 - sum(stages_ms.get(name, 0.0) for name in stages) / whole_ms

    return {
        "stages_ms": stages_ms | {"none": total_ms - sum(stages_ms.values())},
        "outside_network": outside(NETWORK),
        "outside_pipeline": outside(PIPELINE),
    }


def _engines(watch: Watch, elapsed_s: float) -> list[Figures]:
    """Shares of the time in which each engine had clouds, and in which its device ran the network."""
    before = {engine["device"]: engine for engine in watch.before["engines"]}
    return [
        {
            "device": engine["device"],
            "name": engine["device_name"],
            "busy": (engine["busy_s"] - before[engine["device"]]["busy_s"]) / elapsed_s,
            "device_busy": (engine["device_busy_s"] - before[engine["device"]]["device_busy_s"]) / elapsed_s,
            "restarts": engine["num_restarts"] - before[engine["device"]]["num_restarts"],
            "memory_mib": engine["memory"]["used"] / MIB,
        }
        for engine in watch.after["engines"]
        if engine["device"] in before
    ]


def _memory(samples: Sequence[ResourceSample]) -> Figures:
    """By kind of process, in MiB: first, last, highest, and growth an hour, by a line through the second half
    of a minute or more."""
    if not samples:
        return {}
    half = samples[len(samples) // 2 :]
    found: Figures = {}
    for kind in samples[0].memory_bytes:
        mib = [sample.memory_bytes.get(kind, 0) / MIB for sample in samples]
        found[kind] = {"first": mib[0], "last": mib[-1], "highest": max(mib)}
        if len(half) >= LEAST_SAMPLES and samples[-1].elapsed_s - samples[0].elapsed_s >= LEAST_S:
            slope = np.polyfit([sample.elapsed_s for sample in half], mib[len(samples) // 2 :], 1)[0]
            found[kind]["growth_an_hour"] = 3600 * float(slope)
    found["open_files"] = {"first": samples[0].num_descriptors, "last": samples[-1].num_descriptors}
    return found
