"""What a case came to: measures, and whether they are within what is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

AGREEMENT = 0.999


@dataclass(frozen=True)
class CaseResult:
    """What one case came to.

    ``kind`` is network, experiment, transforms, pipeline or operation; ``verdict`` is pass, fail or not served.
    Measures are None if the case has none. ``argmax_agreement`` is the share of points with the same label.
    """

    name: str
    kind: str
    verdict: str
    max_abs_diff: float | None = None
    tolerance: float | None = None
    argmax_agreement: float | None = None
    detail: str = ""


def judge(
    name: str,
    kind: str,
    max_abs_diff: float,
    tolerance: float,
    agreement: float | None,
    wrong: Sequence[str] = (),
    least_agreement: float = AGREEMENT,
) -> CaseResult:
    """The result of a case that was run; ``wrong`` are the names of outputs that miss their answer."""
    close = max_abs_diff <= tolerance and (agreement is None or agreement >= least_agreement)
    detail = f"different: {', '.join(wrong)}" if wrong else ""
    return CaseResult(name, kind, "pass" if close and not wrong else "fail", max_abs_diff, tolerance, agreement, detail)


def not_served(name: str, kind: str, reason: str) -> CaseResult:
    """The result of a case that cannot be run here, and why."""
    return CaseResult(name, kind, "not served", detail=reason)
