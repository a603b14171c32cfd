"""How many web processes a service has, and how many readers each of them."""

from app.diagnostics.machine import usable_cores
from app.engine.devices import choose
from app.settings import Settings

CORES = 2  # of each web process at least, if their number is not given
MOST = 5  # then; more bear more large bodies, and fewer small ones


def num_processes(settings: Settings) -> int:
    """As the settings say; if they leave it open, one, or with several GPUs one more, ``MOST`` at most."""
    if settings.web_processes:
        return settings.web_processes
    num_gpus = sum(choice.torch_device.startswith("cuda") for choice in choose(settings.device))
    return max(1, min(1 + num_gpus, MOST, usable_cores() // CORES)) if num_gpus > 1 else 1


def readers(settings: Settings, number: int) -> tuple[int, int]:
    """Readers of the owner of the queue, and of each of the others, if there are ``number`` web processes.

    The owner reads tiles of jobs, for which it has half of them, and else only what comes while no other process takes
    it.
    """
    if number == 1:
        return settings.readers, 0
    for_jobs = settings.readers // 2 if settings.jobs_dir else 0
    return max(1, for_jobs), max(1, (settings.readers - for_jobs) // (number - 1))
