"""Options and files as the body of one request, a form."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode
from uuid import uuid4

from pointserve_client.upload import Upload

MOST_QUERY_CHARS = 3000  # servers take addresses of at most 4094


class FormBody(Upload):
    """A form that is made while it is sent: ``_next`` gives its next bytes, empty after the last."""

    _num_sent: int

    def read(self) -> bytes:
        """The next bytes, empty after the last; raises as its files do."""
        data = self._next()
        self._num_sent += len(data)
        return data

    @property
    def num_sent(self) -> int:
        """Bytes read since the last ``rewind``."""
        return self._num_sent

    def _next(self) -> bytes:
        raise NotImplementedError


class Form(FormBody):
    """``fields`` and the file ``upload`` as the parts of a form."""

    def __init__(self, fields: Mapping[str, str], upload: Upload):
        boundary = uuid4().hex
        self.name = upload.name
        self.media_type = media_type(boundary)
        self._upload = upload
        self._head = b"".join([*parts(boundary, fields), part(boundary, "file", upload.name or "cloud")])
        self._end = end(boundary)
        self.size = len(self._head) + upload.size + len(self._end)
        self.rewind()

    def rewind(self) -> None:
        """Begin again."""
        self._upload.rewind()
        self._num_sent = 0

    def close(self) -> None:
        """Close the file."""
        self._upload.close()

    def _next(self) -> bytes:
        data = self._upload.read() if self._num_sent else self._head
        is_over = self._num_sent >= self.size
        return data or (b"" if is_over else self._end)


def asked(options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The query of a request that states ``options``, and as fields of a form those that make it too long."""
    short, fields = dict(options), dict[str, str]()
    while len(query := urlencode(short, errors="surrogateescape")) > MOST_QUERY_CHARS:
        longest = max(short, key=lambda name: len(short[name]))
        fields[longest] = short.pop(longest)
    return query, fields


def media_type(boundary: str) -> str:
    """For Content-Type."""
    return f"multipart/form-data; boundary={boundary}"


def parts(boundary: str, fields: Mapping[str, str]) -> list[bytes]:
    """The parts of ``fields``."""
    return [part(boundary, name) + text.encode("utf-8", "surrogateescape") for name, text in fields.items()]


def part(boundary: str, name: str, filename: str = "") -> bytes:
    """What stands before the content of a part, which is a file if it has a name."""
    lines = [f"\r\n--{boundary}", f'Content-Disposition: form-data; name="{name}"']
    if filename:
        filename = filename.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        lines[1] += f'; filename="{filename}"'
        lines.append("Content-Type: application/octet-stream")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def end(boundary: str) -> bytes:
    """What stands behind the last part."""
    return f"\r\n--{boundary}--\r\n".encode()
