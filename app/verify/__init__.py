"""Goldens: known inputs with known answers, run on this machine, to prove that it computes what it should."""

from .cases import verify
from .result import CaseResult

__all__ = ["CaseResult", "verify"]
