"""Variable length records of a LAS file: VLRs before the points, EVLRs after them."""

import re
import struct
from dataclasses import dataclass

from app.errors import BadCloud

VLR_HEADER = 54
EVLR_HEADER = 60
MAX_RECORDS = 1 << 16  # that are read of a kind
USER_ID = re.compile(rb"[\x20-\x7e]+\0*")

LASZIP = ("laszip encoded", 22204)
EXTRA_BYTES = ("LASF_Spec", 4)
COPC_INFO = ("copc", 1)
COPC_HIERARCHY = ("copc", 1000)


@dataclass(frozen=True)
class Record:
    """A variable length record: ``raw`` is its header and data, in the file itself, and began there at ``start``."""

    raw: bytes | memoryview
    header_size: int
    start: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """User id and record id."""
        user_id = bytes(self.raw[2:18]).split(b"\0")[0].decode("latin-1")
        return user_id, int.from_bytes(self.raw[18:20], "little")

    @property
    def data(self) -> bytes:
        return bytes(self.raw[self.header_size :])

    @property
    def end(self) -> int:
        """Offset in the file of what follows."""
        return self.start + len(self.raw)

    @property
    def is_signed(self) -> bool:
        """Whether the user id is text, as that of every record should be and random bytes hardly are."""
        return USER_ID.fullmatch(bytes(self.raw[2:18])) is not None

    def with_data(self, data: bytes) -> "Record":
        """This record with other ``data``; BadCloud if a VLR cannot hold that much."""
        length_type, length_end = ("<H", 22) if self.header_size == VLR_HEADER else ("<Q", 28)
        if length_end == 22 and len(data) > 0xFFFF:
            raise BadCloud(f"The record {self.key} of the LAS file has no room for further dimensions.")
        head = bytes(self.raw[: self.header_size])
        head = head[:20] + struct.pack(length_type, len(data)) + head[length_end:]
        return Record(head + data, self.header_size, self.start)


def new_vlr(key: tuple[str, int], description: str, data: bytes) -> Record:
    """A VLR with the user and record id of ``key``."""
    head = struct.pack("<H16sHH32s", 0, key[0].encode(), key[1], 0, description.encode())
    return Record(head, VLR_HEADER).with_data(data)


def new_evlr(key: tuple[str, int], description: str, data: bytes) -> Record:
    """An EVLR with the user and record id of ``key``."""
    head = struct.pack("<H16sHQ32s", 0, key[0].encode(), key[1], 0, description.encode())
    return Record(head, EVLR_HEADER).with_data(data)


def record_at(data: memoryview, start: int, header_size: int, end: int) -> Record | None:
    """The record that begins at ``start``, None if it does not end by ``end``."""
    if start + header_size > end:
        return None
    length = struct.unpack_from("<H" if header_size == VLR_HEADER else "<Q", data, start + 20)[0]
    stop = start + header_size + length
    return Record(data[start:stop], header_size, start) if stop <= end else None


def walk(data: memoryview, start: int, count: int, header_size: int, end: int) -> list[Record]:
    """The first ``count`` records from ``start``; fewer if one of them does not end by ``end``."""
    records: list[Record] = []
    while len(records) < min(count, MAX_RECORDS) and (record := record_at(data, start, header_size, end)):
        records.append(record)
        start = record.end
    return records


def walk_signed(data: memoryview, start: int, end: int, count: int = MAX_RECORDS) -> list[Record]:
    """The VLRs that follow each other from ``start``, ``count`` at most, as long as each is whole and has a user id."""
    records: list[Record] = []
    while len(records) < min(count, MAX_RECORDS) and (record := record_at(data, start, VLR_HEADER, end)):
        if not record.is_signed:
            break
        records.append(record)
        start = record.end
    return records
