"""``pointserve serve``."""

from typing import Annotated

import typer

from . import options
from .configuration import configure


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=1, max=65535)] = None,
    models: options.Models = None,
    device: options.Device = None,
    threads: options.Threads = None,
) -> None:
    """Serve over HTTP. Every setting POINTSERVE_* of the environment holds too."""
    settings = configure(host=host, port=port, models=models, device=device, threads=threads)

    from app.engine import devices
    from app.http import gunicorn

    devices.choose(settings.device)  # refuses an unknown one here, not in the worker
    gunicorn.serve(settings)
