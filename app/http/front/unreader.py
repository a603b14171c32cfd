"""What arrives on a connection, as gunicorn's parser takes it."""

import os
from collections.abc import Callable
from select import PIPE_BUF

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader


class Unreader(SocketUnreader):  # type: ignore[misc]
    """Receives no more than is asked for, so that what follows need not be kept and copied.

    gunicorn's own receives what may be asked for later, too, and then copies the rest at each read: a large body is
    moved five times and takes four times as long.
    """

    max_body_chunk = 1 << 18  # of a chunk of chunked coding

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """``size`` bytes, fewer at the end; without ``size`` those at hand, else up to ``read_ahead``, or a few."""
        if size is None or size < 0:
            received: bytes = super().read(size, read_ahead)
            return received
        held = self.take_buffered()
        if len(held) > size:
            self.unread(held[size:])
        pieces, missing = [held[:size]] if held else [], size - len(held)
        while missing > 0 and (piece := self.sock.recv(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def splicer(body: Body) -> Callable[[int, int], int] | None:
    """A function that puts the next bytes of ``body`` into a pipe as ``Stream.splice`` does; None if chunks hold it."""
    reader = body.reader
    if not isinstance(reader, LengthReader):
        return None

    def splice(pipe: int, size: int) -> int:
        size = min(size, reader.length)
        if size == 0:
            return 0
        try:
            if held := reader.unreader.take_buffered():
                num_bytes = os.write(pipe, held[: min(size, PIPE_BUF)])
                reader.unreader.unread(held[num_bytes:])
            else:
                num_bytes = reader.unreader.sock.splice(pipe, size)
        except BaseException:
            body.failed = True
            raise
        reader.length -= num_bytes
        return num_bytes

    return splice
