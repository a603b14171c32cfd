"""What a prediction gives back."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from app.engine.budget import Reservation

_CHUNK_BYTES = 1 << 20


@dataclass
class Answer:
    """A finished file in a sealed memory file, owned by this object until ``close``, with the memory that it ``held``.

    Attributes:
        fd: of the memory file, -1 once closed.
        size: in bytes.
        media_type, extension: of the format asked for; the extension begins with a dot.
        num_points: of the cloud, each of which has its label in the file.
        model: name of the model that answered.
        warnings: one sentence each.
        timings_ms: milliseconds by stage, in the order in which they ran.
        passes, passes_wanted: of the network, made, and those that the mode asks for.
        num_voxels, batch_size: of the cloud, and clouds of all requests in its pass; 0 and 1 where unknown.
    """

    fd: int
    size: int
    media_type: str
    extension: str
    num_points: int
    model: str
    warnings: list[str]
    timings_ms: dict[str, float]
    passes: int = 1
    passes_wanted: int = 1
    num_voxels: int = 0
    batch_size: int = 1
    held: Reservation | None = None

    def chunks(self) -> Iterator[bytes]:
        """The file from its beginning, in pieces of at most 1 MiB; independent of other readers of it."""
        for offset in range(0, self.size, _CHUNK_BYTES):
            yield os.pread(self.fd, _CHUNK_BYTES, offset)

    def close(self) -> None:
        """Give up the file; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.held:
            self.held.close()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
