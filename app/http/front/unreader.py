"""What arrives on a connection, as gunicorn's parser takes it."""

from collections.abc import Callable

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


def receiver(body: Body) -> Callable[[memoryview], int] | None:
    """A function that puts the next bytes of ``body`` into a buffer as ``Stream.recv_into`` does; None if chunks hold
    it."""
    reader = body.reader
    if not isinstance(reader, LengthReader):
        return None

    def receive(buffer: memoryview) -> int:
        buffer = buffer[: reader.length]
        if not buffer:
            return 0
        try:
            if held := reader.unreader.take_buffered():
                num_bytes = min(len(held), len(buffer))
                buffer[:num_bytes] = held[:num_bytes]
                reader.unreader.unread(held[num_bytes:])
            else:
                num_bytes = reader.unreader.sock.recv_into(buffer)
        except BaseException:
            body.failed = True
            raise
        reader.length -= num_bytes
        return num_bytes

    return receive
