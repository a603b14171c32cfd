"""WSGI middleware before Flask: drops malformed dates and takes the path prefix of a proxy off."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.settings import PREFIX, Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

MAX_PREFIX_CHARS = 200
# As HTTP/1.1 writes dates; the years of other forms may be beyond what Python's dates can be.
DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)
DATES = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE")


class Environ:
    """``application`` with requests as it can take them.

    Where a proxy serves the service under a path, the addresses in answers begin with it: with
    ``settings.path_prefix``, which is also taken off the path if the proxy left it on, or with X-Forwarded-Prefix. That
    is believed of everybody, because it changes nothing but links in the answer to who sent it, and only as a plain
    path.
    """

    def __init__(self, application: "WSGIApplication", settings: Settings):
        self._application = application
        self._prefix = settings.path_prefix.rstrip("/")

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """WSGI."""
        for name in DATES:
            if not DATE.fullmatch(environ.get(name, "")) and not environ.get(name, "").endswith('"'):
                environ.pop(name, None)
        environ["SCRIPT_NAME"] = self._prefix or _stated(environ.get("HTTP_X_FORWARDED_PREFIX", ""))
        path = environ.get("PATH_INFO", "")
        if self._prefix and path.startswith(self._prefix + "/"):
            environ["PATH_INFO"] = path.removeprefix(self._prefix)
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer


def _stated(header: str) -> str:
    """The path that the header states, without a slash at its end; '' if it states none or no plain one."""
    return header.rstrip("/") if len(header) <= MAX_PREFIX_CHARS and re.fullmatch(PREFIX, header, re.ASCII) else ""
