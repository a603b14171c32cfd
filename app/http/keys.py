"""API keys: their hashes in the settings, the one that a request brings, and whether the two agree."""

import hashlib
import hmac

from flask import Request

from app.errors import Unauthorized

OPEN_PATHS = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
HOW = "Send one as Authorization: Bearer KEY, as X-API-Key: KEY, or as the password that a browser asks for."
CHALLENGES = ('Bearer realm="pointserve"', 'Basic realm="pointserve", charset="UTF-8"')


class Keys:
    """The keys of ``setting``: NAME=HASH joined by ','; HASH is ``hashed`` of the key. None if it is empty."""

    def __init__(self, setting: str):
        self._hashes = dict(part.split("=", 1) for part in setting.split(",") if part)

    def owner(self, request: Request) -> str:
        """The name of the key that ``request`` brings; '' if none is needed.

        Raises Unauthorized if it brings none or a wrong one.
        """
        if not self._hashes or request.path in OPEN_PATHS:
            return ""
        given = _given(request)
        if not given:
            raise Unauthorized(f"This server needs a key. {HOW}")
        digest, owner = hashed(given), ""
        for name, known in self._hashes.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, known):
                owner = name
        if not owner:
            raise Unauthorized(f"The key is none of this server's. {HOW}")
        return owner


def hashed(key: str) -> str:
    """SHA-256 of ``key`` in hexadecimal: keys are long and random, so nothing slower is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _given(request: Request) -> str:
    authorization = request.authorization
    if authorization is None:
        return request.headers.get("X-API-Key", "")
    return authorization.token or authorization.password or ""
