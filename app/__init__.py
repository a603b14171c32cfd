"""pointserve: a class for every point of a cloud, over HTTP."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apiflask import APIFlask

    from app.engine.service import Service
    from app.settings import Settings


def create_app(settings: "Settings | None" = None, service: "Service | None" = None) -> "APIFlask":
    """The WSGI application. Whoever serves it starts ``service`` and stops it; without one it is built, not started."""
    from app.http.application import build

    return build(settings, service)
