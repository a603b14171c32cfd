"""The answer to a prediction."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.clouds.cloud import RefinedStep
from app.clouds.summary import Summary
from app.engine.owned_file import OwnedFile

_CHUNK_BYTES = 1 << 20


@dataclass(eq=False)
class EncodedFile(OwnedFile):
    """A finished file in a sealed memory file, or in a file of who asked for it: then the descriptor is -1.

    Attributes:
        size: in bytes.
        media_type, extension: of the format asked for; the extension begins with a dot.
        warnings: one sentence each.
        sha256, summary: of the file, and of what is in it; empty if they were not asked for.
    """

    size: int
    media_type: str
    extension: str
    warnings: list[str]
    sha256: str = field(default="", kw_only=True)
    summary: Summary = field(default_factory=Summary, kw_only=True)

    def chunks(self) -> Iterator[bytes]:
        """The file from its beginning, in pieces of at most 1 MiB; independent of other readers of it."""
        for offset in range(0, self.size, _CHUNK_BYTES):
            yield os.pread(self.fd, _CHUNK_BYTES, offset)


@dataclass(eq=False)
class Answer(EncodedFile):
    """The file that answers a request, and how it came about.

    Attributes:
        num_points: of the cloud; the file has a label for each.
        model: name of the model that answered.
        timings_ms: milliseconds by stage, in the order in which they ran.
        passes, passes_wanted: of the network, made, and those that the mode asks for.
        num_voxels: of the cloud; 0 if unknown.
        batch_size: clouds of all requests in its pass.
        refined: the steps that refined the labels, in their order.
    """

    num_points: int
    model: str
    timings_ms: dict[str, float]
    passes: int = 1
    passes_wanted: int = 1
    num_voxels: int = 0
    batch_size: int = 1
    refined: list[RefinedStep] = field(default_factory=list)
