"""Whether Python is that of the active conda environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .faults import ENVIRONMENT


def environment(variables: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """State ok, absent (no environment is meant) or broken: CONDA_DEFAULT_ENV means another Python than ``prefix``."""
    name = variables.get("CONDA_DEFAULT_ENV", "")
    if name in ("", "base"):
        return {"state": "absent", "name": None, "prefix": prefix}
    entry: dict[str, Any] = {"state": "ok", "name": name, "prefix": prefix}
    home = variables.get("CONDA_PREFIX", "")
    if Path(prefix).resolve() == Path(home).resolve() if home else Path(prefix).name == Path(name).name:
        return entry
    reason = f"CONDA_DEFAULT_ENV is {name}, but Python is that of {prefix}"
    return entry | {"state": "broken", "reason": reason, "fault": ENVIRONMENT.name, "remedy": ENVIRONMENT.remedy}
