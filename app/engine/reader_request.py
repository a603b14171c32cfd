"""What a reader process can be asked: to decode a file, or to encode an answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from app.clouds.cloud import SegmentationMeta
from app.engine import arrays
from app.engine.answer import EncodedFile
from app.engine.body import Body
from app.engine.packed import Packed, check_cloud
from app.engine.protocol import CloudMeta, Decode, Decoded, Encode, Encoded, MemoryNeeded
from app.errors import TooLarge
from app.options import Options

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

    def message(self, max_bytes: int) -> Decode | Encode:
        """The message to send; the reader may take ``max_bytes`` of memory, 0 for no limit."""

    def result(self, answer: object, fds: list[int]) -> Result:
        """What the reader answered, now owner of ``fds``; ValueError if it is no answer to this request."""


@dataclass(frozen=True)
class DecodeRequest:
    """Read ``body`` into a cloud of at most ``max_points``; ``keep`` are columns as in ``Decode``."""

    body: Body
    options: Options
    max_points: int
    keep: tuple[str, ...] | None = None
    what = "Reading the file"

    @property
    def fds(self) -> list[int]:
        """The file."""
        return [self.body.fd]

    def message(self, max_bytes: int) -> Decode:
        """The message to send."""
        return Decode(self.options, self.max_points, self.keep, max_bytes)

    def result(self, answer: object, fds: list[int]) -> Packed[CloudMeta]:
        """The cloud."""
        if not isinstance(answer, Decoded) or len(fds) != 1:
            raise ValueError(f"{type(answer).__name__} with {len(fds)} descriptors")
        cloud = Packed(fds[0], answer.layout, answer.meta)
        check_cloud(cloud)
        if cloud.num_points != answer.num_points:
            raise ValueError(f"{answer.num_points} points announced, {cloud.num_points} sent")
        if cloud.num_points > self.max_points:
            raise TooLarge(f"The cloud has {cloud.num_points} points, at most {self.max_points} fit.")
        return cloud


@dataclass(frozen=True)
class EncodeRequest:
    """Write the answer in format ``output``; ``source`` is the file that came in, if its content is to be kept."""

    output: str
    cloud: Packed[CloudMeta]
    segmentation: Packed[SegmentationMeta]
    source: Body | None = None

    @property
    def what(self) -> str:
        """The subject of sentences about it."""
        return f"Writing the answer as {self.output}"

    @property
    def fds(self) -> list[int]:
        """Cloud, segmentation, and the file that came in."""
        return [file.fd for file in (self.cloud, self.segmentation, self.source) if file]

    def message(self, max_bytes: int) -> Encode:
        """The message to send."""
        cloud, segmentation = self.cloud, self.segmentation
        return Encode(self.output, cloud.layout, cloud.meta, segmentation.layout, segmentation.meta, max_bytes)

    def result(self, answer: object, fds: list[int]) -> EncodedFile:
        """The finished file."""
        if not isinstance(answer, Encoded) or len(fds) != 1:
            raise ValueError(f"{type(answer).__name__} with {len(fds)} descriptors")
        size = arrays.check_sealed(fds[0])
        if size != answer.size:
            raise ValueError(f"{answer.size} bytes announced, {size} sent")
        return EncodedFile(fds[0], size, answer.media_type, answer.extension, answer.warnings)
