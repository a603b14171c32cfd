"""Counts and times of each model's predictions since the start, as Open Inference's statistics extension has them."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict

from app.engine.answer import Answer

PHASES = {
    "decode": "preprocess",
    "queue": "queue",
    "features": "preprocess",
    "voxelize": "preprocess",
    "plan": "preprocess",
    "wait": "queue",
    "network": "infer",
    "project": "postprocess",
    "encode": "encode",
}
BY_SIZE = ("batches", "batch_infer_s")  # of ModelStatistics: by the number of clouds in a pass
EXTENSION_NAMES = {
    "queue": ("queue",),
    "compute_input": ("preprocess",),
    "compute_infer": ("infer",),
    "compute_output": ("postprocess", "encode"),
}


class Duration(TypedDict):
    """Requests or passes, and the nanoseconds that they took together."""

    count: int
    ns: int


class BatchReport(TypedDict):
    """Passes of so many requests."""

    batch_size: int
    compute_infer: Duration


class ModelReport(TypedDict):
    """Requests of a model and the time that they took."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, Duration]
    batch_stats: list[BatchReport]


def phases_s(timings_ms: Mapping[str, float]) -> dict[str, float]:
    """Seconds by phase (queue, preprocess, infer, postprocess, encode) from milliseconds by stage."""
    phases: dict[str, float] = {}
    for stage, ms in timings_ms.items():
        phase = PHASES.get(stage, "postprocess")
        phases[phase] = phases.get(phase, 0.0) + ms / 1000
    return phases


@dataclass
class ModelStatistics:
    """One model: answered and failed requests, seconds by phase, requests by the number that shared their pass."""

    num_answered: int = 0
    num_failed: int = 0
    failed_s: float = 0.0
    last_unix_s: float = 0.0
    seconds: Counter[str] = field(default_factory=Counter)
    batches: Counter[int] = field(default_factory=Counter)
    batch_infer_s: Counter[int] = field(default_factory=Counter)

    def told(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def of(cls, told: dict[str, Any]) -> "ModelStatistics":
        """From what ``told`` gave."""
        by_size = {name: Counter({int(size): n for size, n in told[name].items()}) for name in BY_SIZE}
        return cls(**told | {"seconds": Counter(told["seconds"])} | by_size)

    def plus(self, other: "ModelStatistics") -> "ModelStatistics":
        """Both together."""
        return ModelStatistics(
            self.num_answered + other.num_answered,
            self.num_failed + other.num_failed,
            self.failed_s + other.failed_s,
            max(self.last_unix_s, other.last_unix_s),
            self.seconds + other.seconds,
            self.batches + other.batches,
            self.batch_infer_s + other.batch_infer_s,
        )


class Statistics:
    """Of every model, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, ModelStatistics] = {}

    def answered(self, answer: Answer) -> None:
        """Count one prediction."""
        phases = phases_s(answer.timings_ms)
        with self._lock:
            model = self._models.setdefault(answer.model, ModelStatistics())
            model.num_answered += 1
            model.last_unix_s = time.time()
            model.seconds.update(phases)
            model.batches[answer.batch_size] += 1
            model.batch_infer_s[answer.batch_size] += phases.get("infer", 0.0)  # type: ignore[assignment]

    def failed(self, name: str, seconds: float) -> None:
        """Count a request of the model ``name`` that ended in a problem after ``seconds``."""
        with self._lock:
            model = self._models.setdefault(name, ModelStatistics())
            model.num_failed += 1
            model.failed_s += seconds

    @property
    def models(self) -> dict[str, ModelStatistics]:
        """All of them at this moment, by name."""
        with self._lock:
            return {name: model.plus(ModelStatistics()) for name, model in self._models.items()}

    def of(self, name: str, others: ModelStatistics | None = None) -> ModelReport:
        """What is known of the model ``name``, here and by ``others``; times are nanoseconds, ``execution_count``
        counts passes."""
        with self._lock:
            model = self._models.get(name, ModelStatistics()).plus(others or ModelStatistics())
            passes = {size: -(-count // size) for size, count in model.batches.items()}
            total_s = sum(model.seconds.values())
            return {
                "name": name,
                "version": "1",
                "last_inference": round(1000 * model.last_unix_s),
                "inference_count": model.num_answered,
                "execution_count": sum(passes.values()),
                "inference_stats": {
                    "success": _duration(model.num_answered, total_s),
                    "fail": _duration(model.num_failed, model.failed_s),
                    **{
                        key: _duration(model.num_answered, sum(model.seconds[phase] for phase in phases))
                        for key, phases in EXTENSION_NAMES.items()
                    },
                },
                "batch_stats": [
                    {"batch_size": size, "compute_infer": _duration(count, model.batch_infer_s[size] / size)}
                    for size, count in sorted(passes.items())
                ],
            }


def _duration(count: int, seconds: float) -> Duration:
    return {"count": count, "ns": round(1e9 * seconds)}
