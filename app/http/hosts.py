"""The names under which the service may be asked, so that no page elsewhere gets at it by giving its own name this
machine's address (DNS rebinding)."""

import ipaddress
import re
import socket
from functools import cache

# What the public DNS cannot hold, so that no stranger can have such a name point here.
PRIVATE = (".localhost", ".local", ".lan", ".internal", ".home.arpa")
AUTHORITY = re.compile(r"(\[[0-9A-Za-z:.%_-]+\]|[A-Za-z0-9._-]+)(?::\d{0,5})?", re.ASCII)
DEFAULT_PORTS = {"http": "80", "https": "443"}


class Hosts:
    """Names of ``setting`` (joined by ','; .example.com: all below it, too; *: any) beside those that always hold:
    IP addresses, names without a dot, those of ``PRIVATE``, those of this machine, and ``listens_on``."""

    def __init__(self, setting: str, listens_on: str = ""):
        names = [name.strip().lower() for name in setting.split(",") if name.strip()]
        self._any = "*" in names
        self._names = {name.removeprefix(".") for name in names} | {listens_on.lower()}
        self._below = (*(name for name in names if name.startswith(".")), *PRIVATE)

    def allows(self, authority: str) -> bool:
        """Whether the header Host may say ``authority``, a name or address with or without a port; '' if it says
        nothing, as in HTTP/1.0."""
        if self._any or not authority:
            return True
        name = host_name(authority)
        if name is None:
            return False
        is_private = "." not in name or name.endswith(self._below)
        return is_private or name in self._names or _is_address(name) or name in _own_names()


def host_name(authority: str) -> str | None:
    """The name or address in ``authority`` in lower case, without brackets, port and final dot; None for none."""
    match = AUTHORITY.fullmatch(authority)
    return match[1].lower().strip("[]").removesuffix(".") or None if match else None


def is_origin_of(origin: str, authority: str) -> bool:
    """Whether a page of ``origin`` was served under ``authority``; the scheme is not compared, because a proxy may
    have taken TLS off."""
    scheme, _, host = origin.lower().partition("://")
    default = f":{DEFAULT_PORTS.get(scheme, '')}"
    return bool(host) and host.removesuffix(default) == authority.lower().removesuffix(default)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@cache
def _own_names() -> frozenset[str]:
    """Of this machine, looked up when first asked for: that may take a while."""
    return frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})
