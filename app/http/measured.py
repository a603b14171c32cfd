"""What one web process has counted, as it is told to another."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from app.http.statistics import ModelStatistics

Labels = tuple[tuple[str, str], ...]


@dataclass
class Measured:
    """Values by family of measures, name and labels, and the statistics of models."""

    values: dict[str, dict[tuple[str, Labels], float]] = field(default_factory=dict)
    models: dict[str, ModelStatistics] = field(default_factory=dict)

    @classmethod
    def of_families(cls, families: Iterable[Metric], models: dict[str, ModelStatistics]) -> "Measured":
        """The counters and histograms of ``families``."""
        values = {
            family.name: {
                (sample.name, tuple(sample.labels.items())): sample.value
                for sample in family.samples
                if not sample.name.endswith("_created")
            }
            for family in families
        }
        return cls(values, models)

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Measured":
        """What ``told`` gave."""
        values = {
            family: {(name, tuple(map(tuple, labels))): value for name, labels, value in rows}
            for family, rows in told["values"].items()
        }
        models = {name: ModelStatistics.of(model) for name, model in told["models"].items()}
        return cls(values, models)

    def told(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        values = {
            family: [[name, labels, value] for (name, labels), value in rows.items()]
            for family, rows in self.values.items()
        }
        return {"values": values, "models": {name: model.told() for name, model in self.models.items()}}

    def plus(self, *others: "Measured") -> "Measured":
        """The sums of this and ``others``."""
        values = {family: dict(rows) for family, rows in self.values.items()}
        models = dict(self.models)
        for other in others:
            for family, rows in other.values.items():
                sums = values.setdefault(family, {})
                for key, value in rows.items():
                    sums[key] = sums.get(key, 0.0) + value
            for name, model in other.models.items():
                models[name] = model.plus(models[name]) if name in models else model
        return Measured(values, models)

    def add_to(self, family: Metric) -> None:
        """Add the values to those of ``family``."""
        more = dict(self.values.get(family.name, {}))
        family.samples = [
            sample._replace(value=sample.value + more.pop((sample.name, tuple(sample.labels.items())), 0.0))
            for sample in family.samples
        ]
        family.samples += [Sample(name, dict(labels), value) for (name, labels), value in more.items()]
