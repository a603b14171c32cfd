"""What a request can know of its client's connection, if the server is ``app.http.front``."""

from collections.abc import Callable, Mapping
from typing import Any


class BodyIsLate(BaseException):
    """The request is to be asked again when the first bytes of its body are here; no error, so nothing answers it."""


def await_body(environ: Mapping[str, Any]) -> None:
    """Give the thread, and all else that this request holds, to others until the first bytes of its body are here.

    A client that waits for 100 Continue gets it now.
    """
    if (client := environ.get("pointserve.client")) is not None:
        client.say_continue()
    if environ.get("pointserve.body_is_late"):
        raise BodyIsLate


def was_asked(environ: Mapping[str, Any]) -> bool:
    """Whether this request was here before, and waited for its body since."""
    return bool(environ.get("pointserve.was_asked"))


def awaits_continue(environ: Mapping[str, Any]) -> bool:
    """Whether the client sends its body only once it is told 100 Continue, or after a moment."""
    return bool(environ.get("HTTP_EXPECT")) and not was_asked(environ)


def hung_up(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """A function that says whether the client of this request has closed its connection; the body must have been read.

    One that closes only its sending side counts as gone: the two look alike from here.
    """
    client = environ.get("pointserve.client")
    return client.is_gone if client is not None else lambda: False


def make_room(environ: Mapping[str, Any]) -> bool:
    """Have clients that are slow give up their places; whether there are any."""
    found: Callable[[], bool] = environ.get("pointserve.make_room", lambda: False)
    return found()
