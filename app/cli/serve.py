"""``pointserve serve``."""

import socket
from typing import Annotated

import typer

from app.errors import BadRequest

from . import options
from .configuration import configure


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=1, max=65535)] = None,
    models: options.Models = None,
    device: options.Device = None,
    precision: options.Precision = None,
    backend: options.Backend = None,
    threads: options.Threads = None,
    legacy_colours: options.LegacyColours = None,
    legacy_blocks: options.LegacyBlocks = None,
) -> None:
    """Serve over HTTP. Every setting POINTSERVE_* of the environment holds too."""
    settings = configure(
        host=host,
        port=port,
        models=models,
        device=device,
        precision=precision,
        backend=backend,
        threads=threads,
        legacy_colours=legacy_colours,
        legacy_blocks=legacy_blocks,
    )

    from app.engine import body, devices
    from app.http import gunicorn, telemetry
    from app.zoo import experiment

    # refused here in one line, not by the worker again and again
    devices.choose(settings.device)
    experiment.find(settings.models)
    telemetry.check(settings.traces)
    body.check_spool_dir(settings.spool_dir)
    _check_address(settings.host, settings.port)
    gunicorn.serve(settings)


def _check_address(host: str, port: int) -> None:
    """Raise BadRequest where nothing can listen on ``port`` of ``host``."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python 3.11 and newer repeat the address
        raise BadRequest(
            f"Cannot listen on port {port} of {host}: {reason}. Choose another port with --port or POINTSERVE_PORT, "
            "another address with --host or POINTSERVE_HOST."
        ) from None
