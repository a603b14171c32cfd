"""Several files, and options, as the body of one request, a form, that can be sent again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from pointserve_client.form import FormBody, end, media_type, part, parts
from pointserve_client.upload import CHUNK_BYTES


class Files(FormBody):
    """The files at ``paths``, by name if they have names of their own, as parts 'file' of a form behind its ``fields``;
    each is opened when its turn comes.

    Raises OSError if one cannot be read, or becomes shorter while it is sent.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]],
        fields: Mapping[str, str] | None = None,
    ):
        self.name = ""
        boundary = uuid4().hex
        self.media_type = media_type(boundary)
        named = paths.items() if isinstance(paths, Mapping) else [(Path(path).name, path) for path in paths]
        self._fields = b"".join(parts(boundary, fields or {}))
        self._parts = [(part(boundary, "file", name), Path(path), Path(path).stat().st_size) for name, path in named]
        self._end = end(boundary)
        self.size = len(self._fields) + sum(len(head) + size for head, _, size in self._parts) + len(self._end)
        self._file: BinaryIO | None = None
        self.rewind()

    def rewind(self) -> None:
        """Begin again."""
        self.close()
        self._place = 0  # of the part that is read
        self._num_sent = self._left = 0

    def close(self) -> None:
        """Close the file that is open."""
        if self._file:
            self._file.close()
            self._file = None

    def _next(self) -> bytes:
        if self._fields and not self._num_sent:
            return self._fields
        if self._left:
            assert self._file is not None
            data = self._file.read(min(CHUNK_BYTES, self._left))
            if not data:
                raise OSError(f"{self._file.name} has become shorter by {self._left:,} bytes while it was sent")
            self._left -= len(data)
            return data
        self.close()
        if self._place < len(self._parts):
            head, path, self._left = self._parts[self._place]
            self._file = path.open("rb")
            self._place += 1
            return head
        is_over = self._num_sent >= self.size
        return b"" if is_over else self._end
