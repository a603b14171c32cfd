"""``pointserve serve``."""

import socket
from typing import TYPE_CHECKING

import typer

from app.errors import BadRequest

from .configuration import configure
from .options import with_settings
from .terminal import warn

if TYPE_CHECKING:
    from app.settings import Settings


@with_settings("host", "port", of_models=True)
def serve(context: typer.Context) -> None:
    """Serve over HTTP. Every setting POINTSERVE_* of the environment holds too."""
    settings = configure(**context.obj)

    from app.engine import body, devices
    from app.http import gunicorn, telemetry
    from app.zoo import experiment

    # refused here in one line, not by the worker again and again
    devices.choose(settings.device)
    names = [folder.name for folder in experiment.find(settings.models)]
    _check_names(settings, names)
    telemetry.check(settings.traces)
    body.check_spool_dir(settings.spool_dir)
    _check_address(settings.host, settings.port)
    gunicorn.serve(settings)


def _check_names(settings: "Settings", names: list[str]) -> None:
    """Raise BadRequest if the default model is none of ``names``; warn of other settings that name none of them."""
    from app.options import models_in
    from app.settings import BY_MODEL, models_named

    known = f"There are: {', '.join(names)}."
    if settings.default_model and not set(models_in(settings.default_model, names)) <= set(names):
        raise BadRequest(f"POINTSERVE_DEFAULT_MODEL names a model that POINTSERVE_MODELS does not hold. {known}")
    for setting, field in type(settings).model_fields.items():
        named = models_named(getattr(settings, setting)) if BY_MODEL in field.metadata else set()
        for name in sorted(named - set(names)):
            warn(
                f"POINTSERVE_{setting.upper()} is for a model {name!r}, which POINTSERVE_MODELS does not hold. {known}"
            )


def _check_address(host: str, port: int) -> None:
    """Raise BadRequest if nothing can listen on ``port`` of ``host``."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python 3.11 and newer repeat the address
        raise BadRequest(
            f"Cannot listen on port {port} of {host}: {reason}. Choose another port with --port or POINTSERVE_PORT, "
            "another address with --host or POINTSERVE_HOST."
        ) from None
