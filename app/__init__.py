"""pointserve: a class for every point of a cloud, over HTTP."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apiflask import APIFlask

    from app.engine.service import Service
    from app.http.fronts import Fronts
    from app.settings import Settings


def create_app(
    settings: "Settings | None" = None, service: "Service | None" = None, fronts: "Fronts | None" = None
) -> "APIFlask":
    """The WSGI application. Whoever serves it starts ``service`` and stops it; without one it is built, not started.

    ``fronts`` are other processes that answer predictions, if there are any.
    """
    from app.http.application import build

    return build(settings, service, fronts)
