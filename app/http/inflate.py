"""Bodies that were compressed as a whole: gzip and deflate, never larger than the limit once inflated."""

import zlib
from typing import Protocol

from app.errors import BadRequest, TooLarge, UnsupportedFormat, quoted
from app.settings import MIB

CHUNK_BYTES = 1 << 18
GZIP, ZLIB, RAW = 31, 15, -15  # what zlib calls window bits says which wrapping there is
ENCODINGS = ("gzip", "deflate")


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, b"" at the end."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Put up to ``len(buffer)`` bytes into it; how many, 0 at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def inflated(stream: Readable, encoding: str, limit_bytes: int) -> Readable:
    """``stream`` decoded by the ``encoding`` that Content-Encoding states; unchanged if there is none.

    Raises UnsupportedFormat for an encoding that is not in ``ENCODINGS``, or several.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return stream
    if name.removeprefix("x-") not in ENCODINGS:
        raise UnsupportedFormat(
            f"Content-Encoding {quoted(encoding)} is not read here; {' and '.join(ENCODINGS)} are. LAZ, COPC and NPZ "
            "are compressed already and go as they are."
        )
    return Inflater(stream, name.removeprefix("x-"), limit_bytes)


class Inflater(Readable):
    """Reads ``stream`` inflated. ``read`` raises TooLarge beyond ``limit_bytes`` of that, BadRequest for damage."""

    def __init__(self, stream: Readable, encoding: str, limit_bytes: int):
        self._stream = stream
        self._encoding = encoding
        self._limit_bytes = limit_bytes
        self._inflate = zlib.decompressobj(GZIP) if encoding == "gzip" else None
        self._waiting = b""
        self._num_out = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, b"" at the end; at most ``CHUNK_BYTES`` if ``size`` is larger or negative."""
        size = min(size, CHUNK_BYTES) if size >= 0 else CHUNK_BYTES
        while size and not self._ended:
            data = self._waiting or self._stream.read(CHUNK_BYTES)
            if not data:
                return self._end()
            if out := self._take(data, size):
                self._num_out += len(out)
                if self._num_out > self._limit_bytes:
                    raise TooLarge(f"The body is larger than {self._limit_bytes // MIB} MiB once it is inflated.")
                return out
        return b""

    def _take(self, data: bytes, size: int) -> bytes:
        if self._inflate is None:  # HTTP's deflate is zlib's wrapping, which some clients leave out
            wrapped = data[0] & 15 == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
            self._inflate = zlib.decompressobj(ZLIB if wrapped else RAW)
        elif self._inflate.eof:
            if self._encoding != "gzip":
                raise BadRequest("There are bytes after the end of the deflated body. Send it again.")
            self._inflate = zlib.decompressobj(GZIP)  # a further member
        try:
            out = self._inflate.decompress(data, size)
        except zlib.error as error:
            raise BadRequest(
                f"The body is damaged, or not what Content-Encoding: {self._encoding} says. Send it again, or without."
            ) from error
        self._waiting = self._inflate.unconsumed_tail or self._inflate.unused_data
        return out

    def _end(self) -> bytes:
        self._ended = True
        if self._inflate is None or not self._inflate.eof:
            raise BadRequest(f"The {self._encoding} body is cut short: its end is missing. Send it again.")
        return b""
