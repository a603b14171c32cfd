"""The setting ``device``: which engines there are, found without touching a device in this process."""

import os
import re
from dataclasses import dataclass, field, replace

import pynvml

from app.errors import BadRequest


@dataclass(frozen=True)
class DeviceChoice:
    """Device of one engine: its ``name`` in the settings, torch's name for it, and variables that select it."""

    name: str
    torch_device: str
    environment: dict[str, str] = field(default_factory=dict)


def choose(setting: str) -> list[DeviceChoice]:
    """One choice for every device in ``setting``: auto, cpu, cuda or cuda:N, several joined by ','.

    A device that is named several times has as many engines, called cpu#0, cpu#1 and so on.

    Raises BadRequest for anything else.
    """
    choices = [_choose(name.strip()) for name in setting.split(",")]
    names = [choice.name for choice in choices]
    return [
        replace(choice, name=f"{choice.name}#{names[:place].count(choice.name)}")
        if names.count(choice.name) > 1
        else choice
        for place, choice in enumerate(choices)
    ]


def _choose(name: str) -> DeviceChoice:
    if name in ("auto", "cpu", "cuda"):
        return DeviceChoice(name, name)
    if match := re.fullmatch(r"cuda:(\d+)", name):
        return DeviceChoice(name, "cuda", {"CUDA_VISIBLE_DEVICES": _visible(int(match[1]))})
    raise BadRequest(f"device {name!r} is unknown: expected auto, cpu, cuda or cuda:N (POINTSERVE_DEVICE).")


def _visible(index: int) -> str:
    """CUDA_VISIBLE_DEVICES for device ``index`` of the visible ones, else of all in nvidia-smi's order; '' for none."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return dict(enumerate(listed.split(","))).get(index, "")
    try:
        pynvml.nvmlInit()
        try:
            return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return str(index)
