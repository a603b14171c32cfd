"""The condition: which of its training datasets a network answers for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.errors import BadRequest

Geometry = TypeVar("Geometry")


@dataclass(frozen=True)
class ConditionPlan(Generic[Geometry]):
    """A plan of the geometry, and the index of the batch's dataset among the network's conditions."""

    geometry: Geometry
    condition: int


def index_of(condition: str | None, conditions: Sequence[str]) -> int:
    """The index of ``condition`` among ``conditions``; 0 for None if there is only one. Raises BadRequest."""
    if condition is None and len(conditions) == 1:
        return 0
    if condition is not None and condition in conditions:
        return list(conditions).index(condition)
    given = "no condition was given" if condition is None else f"condition {condition!r} is not among them"
    raise BadRequest(f"the network was trained for {', '.join(conditions)}, and {given}; name one of these")
