"""What the operators are measured beside and the environment does not bring."""

from importlib.metadata import version
from importlib.util import find_spec

PIP = {"spconv": "pip install spconv", "fpsample": "pip install fpsample"}
MISSING = "missing"  # in the cells of a peer that is


def present(name: str) -> bool:
    """Whether the peer is installed."""
    return find_spec(name) is not None


def missing() -> list[str]:
    """Those that are not installed, each with the command that brings it."""
    return [f"{name} (`{command}`)" for name, command in PIP.items() if not present(name)]


def notes(name: str) -> list[str]:
    """The line above a table in which the peer should stand and is missing."""
    return [] if present(name) else [f"{name} is missing: `{PIP[name]}`."]


def versions() -> str:
    """Of each peer, or that it is missing and what brings it."""
    told = [f"{name} {version(name)}" for name in PIP if present(name)]
    return ", ".join([*told, *(f"{name} missing" for name in missing())])
