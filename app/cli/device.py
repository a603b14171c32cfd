"""The one device that a command computes on in its own process."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings


def open_device(settings: "Settings") -> str:
    """What torch calls the device that ``settings`` name (the first of several), with their threads set.

    CUDA, OpenMP and BLAS take their variables from the environment alone, when they are loaded: they are put there, as
    into that of an engine process.

    Raises:
        BadRequest: no such kind of device.
        BadModel: CUDA was asked for and cannot be had.
    """
    from app.engine import devices
    from app.engine.threads import thread_environment

    chosen = devices.choose(settings.device)[0]
    os.environ.update(thread_environment() | chosen.environment)

    import torch

    from app.diagnostics.machine import usable_cores
    from app.engine.process import choose_device

    torch.set_num_threads(settings.threads or usable_cores())
    return choose_device(chosen.torch_device)
