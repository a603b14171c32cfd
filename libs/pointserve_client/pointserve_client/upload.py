"""Clouds as bodies that can be sent again."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 1 << 18

Array: TypeAlias = NDArray[Any]
Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Array | Mapping[str, Array]"
OnSent = Callable[[int, int], None]


class Upload:
    """``size`` bytes of a cloud from the position of ``stream``; ``name`` is that of the file, or empty."""

    media_type = "application/octet-stream"

    def __init__(self, stream: BinaryIO, name: str = "", *, is_owner: bool = True):
        self._is_owner = is_owner
        if not (hasattr(stream, "seekable") and stream.seekable()):  # a pipe: its bytes may be needed again
            stream = _swapped(stream, is_owner)
        self._stream = stream
        self._begin = stream.tell()
        self._left = 0
        self.size = stream.seek(0, io.SEEK_END) - self._begin
        self.name = name

    def rewind(self) -> None:
        """Begin again."""
        self._stream.seek(self._begin)
        self._left = self.size

    def read(self) -> bytes:
        """The next bytes, empty after the last; raises OSError if the file has become shorter."""
        data = self._stream.read(min(CHUNK_BYTES, self._left))
        if self._left and not data:
            raise OSError(f"{self.name or 'the cloud'} has become shorter by {self._left:,} bytes while it was sent")
        self._left -= len(data)
        return data

    @property
    def num_sent(self) -> int:
        """Bytes read since the last ``rewind``."""
        return self.size - self._left

    def close(self) -> None:
        """Close the file, unless it is the caller's."""
        if self._is_owner:
            self._stream.close()


def opened(cloud: Source) -> Upload:
    """``cloud`` as a body: a file by its path, its bytes or opened; or arrays as NPY or NPZ.

    Raises:
        OSError: the file cannot be read.
        TypeError: the cloud is something else.
    """
    if isinstance(cloud, (str, os.PathLike)):
        path = Path(cloud)
        return Upload(path.open("rb"), path.name)
    if isinstance(cloud, (bytes, bytearray, memoryview)):
        return Upload(io.BytesIO(cloud))
    if isinstance(cloud, (np.ndarray, Mapping)):
        return Upload(_stored(cloud))
    if not hasattr(cloud, "read") or isinstance(cloud.read(0), str):
        raise TypeError(
            f"a cloud is a path, bytes, a file opened as binary, an array or arrays by name, not {type(cloud).__name__}"
        )
    name = getattr(cloud, "name", "")
    return Upload(cloud, Path(name).name if isinstance(name, str) else "", is_owner=False)


def _stored(cloud: Array | Mapping[str, Array]) -> BinaryIO:
    file = io.BytesIO()
    if isinstance(cloud, np.ndarray):
        np.save(file, cloud, allow_pickle=False)
    else:
        arrays: dict[str, Any] = {name: np.asarray(array) for name, array in cloud.items()}
        np.savez(file, **arrays)
    file.seek(0)
    return file


def _swapped(stream: BinaryIO, is_owner: bool) -> BinaryIO:
    data = stream.read()
    if is_owner:
        stream.close()
    return io.BytesIO(data)
