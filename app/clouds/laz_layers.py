"""Layered chunks of LAZ (point formats 6 to 10): what they say of themselves, and one as two that share no layer.

A chunk is its first point as it is, the number of points, the bytes of every layer, and the layers, by the LAZ
specification 1.4. The first nine hold what every point has; Z and seven more are coded by what stands in the first
(X, Y, returns, scanner channel). Those of colors, waveforms and extra bytes are coded by the scanner channel alone.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise

POINT14, RGB14, RGBNIR14, WAVEPACKET14, BYTE14 = 10, 11, 12, 13, 14
LAYERS = {POINT14: 9, RGB14: 1, RGBNIR14: 2, WAVEPACKET14: 1}  # BYTE14 has one a byte
POINT_BYTES, POINT_LAYERS = 30, LAYERS[POINT14]
RETURNS_BYTE, CHANNEL_BYTE, CHANNEL_BITS, CLASS_BYTE = 14, 15, 0x30, 16  # of a point
CLASS_LAYER = 2

LEAST_BYTES, POINTS_A_BYTE = 1024, 64  # of a layer in which nothing changes; it takes a fifth of that or less

Item = tuple[int, int, int]  # type, bytes, version
Pieces = tuple[memoryview | bytes, ...]  # of a chunk, in their order


@dataclass(frozen=True)
class LayeredChunk:
    """One chunk: its bytes ``raw``, the number of points, the bytes of every layer, and how many are of extra bytes."""

    raw: memoryview
    record_length: int
    num_points: int
    sizes: tuple[int, ...]
    num_extra: int

    def bytes_behind(self, extra_bytes: bool) -> int:
        """Of the layers behind those of every point; those of extra bytes if they count."""
        end = len(self.sizes) - (0 if extra_bytes else self.num_extra)
        return sum(self.sizes[POINT_LAYERS:end])

    def halves(self) -> tuple[Pieces, Pieces]:
        """The chunk without the layers behind those of every point, and one of these alone, of points that are 0.

        The first layer of the second is zeros, which a decoder reads as: like the point before. That is right if all
        points have one scanner channel.
        """
        behind = self.sizes[POINT_LAYERS:]
        start, middle = len(self.raw) - sum(self.sizes), len(self.raw) - sum(behind)
        like_before = bytes(LEAST_BYTES + self.num_points // POINTS_A_BYTE)
        first = self.raw[: self.record_length]
        front = (first, self._frame((*self.sizes[:POINT_LAYERS], *[0] * len(behind))), self.raw[start:middle])
        frame = self._frame((len(like_before), *[0] * (POINT_LAYERS - 1), *behind))
        return front, (bytes(POINT_BYTES), first[POINT_BYTES:], frame, like_before, self.raw[middle:])

    def with_changes(self, new: "LayeredChunk", changed: set[int]) -> Pieces:
        """This chunk with the classification of ``new``, its extra bytes at the places ``changed`` of a record, and its
        further ones.

        ``new`` has the same points as far as classification and extra bytes are coded by them: returns and channels.
        """
        first = bytearray(new.raw[: new.record_length])
        for place in set(range(self.record_length)) - changed - {CLASS_BYTE}:
            first[place] = self.raw[place]
        begin_extra = self.record_length - self.num_extra
        others = {CLASS_LAYER, *(len(self.sizes) - self.num_extra + place - begin_extra for place in changed)}
        kept = self._layers()
        layers = [kept[i] if i < len(kept) and i not in others else layer for i, layer in enumerate(new._layers())]
        return bytes(first), self._frame(tuple(map(len, layers))), *layers

    def _layers(self) -> list[memoryview]:
        ends = [*accumulate(self.sizes, initial=len(self.raw) - sum(self.sizes))]
        return [self.raw[start:end] for start, end in pairwise(ends)]

    def _frame(self, sizes: tuple[int, ...]) -> bytes:
        return struct.pack(f"<{1 + len(sizes)}I", self.num_points, *sizes)


def chunk_at(data: memoryview, items: Iterable[Item], start: int) -> LayeredChunk | None:
    """The chunk at byte ``start`` as it states itself, None if ``data`` does not hold it."""
    items = list(items)
    record_length = sum(size for _, size, _ in items)
    num_extra = sum(size for kind, size, _ in items if kind == BYTE14)
    num_layers = num_extra + sum(LAYERS[kind] for kind, _, _ in items if kind != BYTE14)
    sizes_start = start + record_length + 4
    sizes_end = sizes_start + 4 * num_layers
    if sizes_end > len(data):
        return None
    num_points, *sizes = struct.unpack_from(f"<{1 + num_layers}I", data, sizes_start - 4)
    end = sizes_end + sum(sizes)
    if end > len(data):
        return None
    return LayeredChunk(data[start:end], record_length, num_points, tuple(sizes), num_extra)


def chunks_from(data: memoryview, items: Iterable[Item], start: int, count: int) -> list[LayeredChunk]:
    """``count`` chunks one behind the other from byte ``start`` on, or as many as ``data`` holds."""
    chunks: list[LayeredChunk] = []
    while len(chunks) < count and (chunk := chunk_at(data, items, start)):
        chunks.append(chunk)
        start += len(chunk.raw)
    return chunks
