"""A read-only file over a memoryview, for libraries that want one; nothing is copied."""

import io
import os


class MemoryFile(io.RawIOBase):
    """Seekable, read-only binary file over ``data``; wrap it in io.BufferedReader to read lines."""

    def __init__(self, data: memoryview, position: int = 0):
        super().__init__()
        self._data = data
        self._position = position

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as io.IOBase.seek does; OSError before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise OSError(f"seek to {base + offset}, before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Copy the next bytes into ``buffer``; the number copied, 0 at the end."""
        part = self._data[self._position : self._position + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)
