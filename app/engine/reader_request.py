"""What a reader process can be asked: to decode a file, to join a tile with its neighbours, or to encode an answer."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from app.clouds import strips
from app.clouds.cloud import Bounds, SegmentationMeta
from app.clouds.summary import Summary
from app.engine import arrays
from app.engine.answer import EncodedFile
from app.engine.body import Body
from app.engine.channel import MAX_DESCRIPTORS
from app.engine.packed import Packed, PackedRing, check_cloud
from app.engine.protocol import (
    Border,
    CloudFile,
    CloudMeta,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Join,
    MemoryNeeded,
)
from app.errors import TooLarge
from app.options import Options

MAX_RINGS = MAX_DESCRIPTORS - 1

Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True)
class MemoryGrant:
    """Memory for one file: ``max_bytes`` at once; ``enlarge`` gets what is needed beyond and gives the new limit."""

    max_bytes: int
    enlarge: Callable[[MemoryNeeded], int]


class ReaderRequest(Protocol[Result]):
    """One request, and how its answer is checked."""

    @property
    def what(self) -> str:
        """The subject of sentences about it."""

    @property
    def fds(self) -> list[int]:
        """Descriptors to send; they stay their owners'."""

    def message(self, max_bytes: int) -> Decode | Join | Encode:
        """The message to send; the reader may take ``max_bytes`` of memory, 0 for no limit."""

    def result(self, answer: object, fds: list[int]) -> Result:
        """What the reader answered, now owner of ``fds``; ValueError if it is no answer to this request."""


@dataclass(frozen=True)
class DecodeRequest:
    """Read ``body`` into a cloud of at most ``max_points``, and cut its ring if there is a ``border``; ``keep`` are
    columns as in ``Decode``."""

    body: Body
    options: Options
    max_points: int
    keep: tuple[str, ...] | None = None
    border: Border | None = None
    what = "Reading the file"

    @property
    def fds(self) -> list[int]:
        """The file."""
        return [self.body.fd]

    def message(self, max_bytes: int) -> Decode:
        """The message to send."""
        return Decode(self.options, self.max_points, self.keep, max_bytes, self.border)

    def result(self, answer: object, fds: list[int]) -> tuple[Packed[CloudMeta], PackedRing | None]:
        """The cloud, and its ring."""
        cloud = _decoded(answer, fds[:1])
        if cloud.num_points > self.max_points:
            raise TooLarge(f"The cloud has {cloud.num_points} points, at most {self.max_points} fit.")
        if not self.border and len(fds) == 1:
            return cloud, None
        if not self.border or not isinstance(answer, Decoded) or not answer.ring or len(fds) != 2:
            raise ValueError(f"{len(fds)} descriptors")
        inner = strips.inner(self.border.bounds, self.border.width_m, cloud.meta.units)
        ring = PackedRing(fds[1], answer.ring.layout, answer.ring.meta, inner)
        check_cloud(ring)
        return cloud, ring


def _decoded(answer: object, fds: list[int]) -> Packed[CloudMeta]:
    if not isinstance(answer, Decoded) or len(fds) != 1:
        raise ValueError(f"{type(answer).__name__} with {len(fds)} descriptors")
    cloud = Packed(fds[0], answer.layout, answer.meta)
    check_cloud(cloud)
    if cloud.num_points != answer.num_points:
        raise ValueError(f"{answer.num_points} points announced, {cloud.num_points} sent")
    return cloud


@dataclass(frozen=True)
class JoinRequest:
    """Put what at most ``MAX_RINGS`` rings have around the tile ``cloud`` behind it; the others are as in ``Join``."""

    cloud: Packed[CloudMeta]
    rings: Sequence[PackedRing]
    bounds: Bounds
    buffer_m: float
    columns: tuple[str, ...]
    frame: Bounds | None = None
    what = "Joining the tile with its neighbours"

    @property
    def fds(self) -> list[int]:
        """The tile, and each ring."""
        return [self.cloud.fd, *(ring.fd for ring in self.rings)]

    def message(self, max_bytes: int) -> Join:
        """The message to send."""
        cloud, *rings = (CloudFile(each.layout, each.meta) for each in (self.cloud, *self.rings))
        inners = [ring.inner for ring in self.rings]
        return Join(cloud, rings, inners, self.bounds, self.buffer_m, self.columns, self.frame)

    def result(self, answer: object, fds: list[int]) -> Packed[CloudMeta]:
        """The tile with its context."""
        return _decoded(answer, fds)


@dataclass(frozen=True)
class EncodeRequest:
    """Write the answer in format ``output``; ``source`` is the file that came in, if its content is to be kept.

    It goes into the file ``target``, a descriptor, or into a new one; with ``sums_up`` as in ``Encode``.
    """

    output: str
    cloud: Packed[CloudMeta]
    segmentation: Packed[SegmentationMeta]
    source: Body | None = None
    target: int | None = None
    sums_up: bool = False

    @property
    def what(self) -> str:
        """The subject of sentences about it."""
        return f"Writing the answer as {self.output}"

    @property
    def fds(self) -> list[int]:
        """Cloud, segmentation, the file that came in, and that of the answer."""
        fds = [file.fd for file in (self.cloud, self.segmentation, self.source) if file]
        return fds if self.target is None else [*fds, self.target]

    def message(self, max_bytes: int) -> Encode:
        """The message to send."""
        cloud, segmentation = self.cloud, self.segmentation
        return Encode(
            self.output,
            cloud.layout,
            cloud.meta,
            segmentation.layout,
            segmentation.meta,
            max_bytes,
            has_source=self.source is not None,
            has_target=self.target is not None,
            sums_up=self.sums_up,
        )

    def result(self, answer: object, fds: list[int]) -> EncodedFile:
        """The finished file; OSError if the target could not be written."""
        if not isinstance(answer, Encoded) or len(fds) != (self.target is None):
            raise ValueError(f"{type(answer).__name__} with {len(fds)} descriptors")
        if answer.errno and self.target is not None:
            raise OSError(answer.errno, os.strerror(answer.errno))
        size = arrays.check_sealed(fds[0]) if self.target is None else os.fstat(self.target).st_size
        if size != answer.size or bool(answer.summary) != self.sums_up:
            raise ValueError(f"{answer.size} bytes announced, {size} sent")
        return EncodedFile(
            fds[0] if fds else -1,
            size,
            answer.media_type,
            answer.extension,
            answer.warnings,
            sha256=answer.sha256,
            summary=answer.summary or Summary(),
        )
