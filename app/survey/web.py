"""Pieces of files on web servers, by ranges where the server knows them, and the links of its listings."""

import asyncio
import re
import time
from typing import Any
from urllib.parse import urlsplit

from app.errors import Forbidden, NotReady
from app.survey.remote import shown
from app.survey.tile import Stat

CONNECT_S, SILENCE_S = 30.0, 60.0  # until a server is reached, and between two of its bytes
WAITS_S = (0.5, 2.0, 5.0)  # before a request is made again
TRANSIENT = (408, 425, 429)  # and all from 500 on
MAX_SKIPPED = 256 << 20  # bytes before a piece, of a server that sends files from their begin only
READ_BYTES = 1 << 20
MAX_LISTINGS = 10_000


def piece(files: Any, url: str, start: int, end: int) -> tuple[bytes, Stat]:
    """Bytes from ``start`` to ``end`` of ``url``, or to its end, and what it is; tried again after each of ``WAITS_S``.

    Raises NotReady if the server cannot send a piece, and what aiohttp raises.
    """
    import aiohttp
    from fsspec.asyn import sync

    waits_s = list(WAITS_S)
    while True:
        try:
            found: tuple[bytes, Stat] = sync(files.loop, _piece, files, url, start, end)
            return found
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
            status = getattr(error, "status", 0)
            if not waits_s or (0 < status < 500 and status not in TRANSIENT):
                raise
            time.sleep(waits_s.pop(0))


async def _piece(files: Any, url: str, start: int, end: int) -> tuple[bytes, Stat]:
    import aiohttp

    session = await files.set_session()
    headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
    async with session.get(files.encode_url(url), headers=headers, timeout=timeout, **files.kwargs) as answer:
        if 300 <= answer.status < 400:
            raise Forbidden(f"{shown(url)}: the server sends elsewhere, where this one may not go.")
        if answer.status == 404:
            raise FileNotFoundError(url)
        is_part = answer.status in (206, 416)
        if answer.status != 416:  # which is the answer for what begins at the end, or after it
            answer.raise_for_status()
        total = answer.headers.get("Content-Range", "").rpartition("/")[2] if is_part else ""
        size = int(total) if total.isdigit() else -1 if is_part else (answer.content_length or 0)
        if size < 0 or answer.headers.get("Transfer-Encoding") == "chunked":
            raise NotReady(f"{shown(url)}: the server does not say how large the file is.")
        skipped = 0 if is_part else start
        if skipped > MAX_SKIPPED:
            raise NotReady(f"{shown(url)}: the server sends large files from their begin only (it knows no ranges).")
        mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        found = Stat(size, f"{size}-{mark}")
        wanted = 0 if answer.status == 416 else skipped + max(0, min(end, size) - start)
        data = bytearray()
        while len(data) < wanted and (chunk := await answer.content.read(min(READ_BYTES, wanted - len(data)))):
            data += chunk
        return bytes(data[skipped:]), found


def links_below(files: Any, root: str, glob: str | None = None) -> list[str]:
    """Every file that the listings of a web server name below the folder ``root``; with ``glob`` if it matches."""
    from fsspec.utils import glob_translate

    pattern = re.compile(glob_translate(glob)) if glob else None
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [root]
    while waiting and len(seen) < MAX_LISTINGS:
        folder = waiting.pop()
        seen.add(folder)
        for link in files.ls(folder, detail=False):
            parts = urlsplit(link)
            if not link.startswith(root) or parts.query or parts.fragment or ".." in parts.path.split("/"):
                continue
            if link.endswith("/"):
                waiting += [link] if link not in seen else []
            elif pattern is None or pattern.match(link):
                found.add(link)
    return sorted(found)
