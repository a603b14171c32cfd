"""What the stages of requests took, as their answers say, in tables."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.clients import Answered


@dataclass(frozen=True)
class Staged:
    """Cells of a row, and the milliseconds of each stage that follow them."""

    cells: list[str]
    stages_ms: dict[str, float]


def stages_ms(answers: Sequence[Answered]) -> dict[str, float]:
    """Medians by stage, with ``none``, which is in no stage."""
    names = dict.fromkeys(stage for answer in answers for stage in answer.stages_ms)
    medians = {name: statistics.median(answer.stages_ms.get(name, 0.0) for answer in answers) for name in names}
    none = (1e3 * answer.seconds - sum(answer.stages_ms.values()) for answer in answers)
    return medians | {"none": statistics.median(none)}


def with_stages(head: list[str], rows: Sequence[Staged]) -> list[list[str]]:
    """The rows below ``head``, with a column for every stage of any of them."""
    names = dict.fromkeys(stage for row in rows for stage in row.stages_ms)
    return [
        [*head, *names],
        *([*row.cells, *(f"{row.stages_ms.get(name, 0.0):.1f}" for name in names)] for row in rows),
    ]
