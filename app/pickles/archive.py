"""The two containers that torch.save writes: the zip of records, and the stream used before torch 1.6."""

import io
import re
import struct
import zipfile
from typing import Any, BinaryIO, Protocol

import numpy as np

from .tensor import ITEM_BYTES, StorageRef
from .unpickle import MAX_PICKLE_BYTES, Unpickled, unpickle

ZIP_MAGIC = b"PK\x03\x04"
LFS_POINTER = b"version https://git-lfs"
STREAM_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickled number, after the header of its protocol
STREAM_VERSION = 1001
BROKEN_ZIP = (zipfile.BadZipFile, ValueError, EOFError, OSError, RuntimeError, struct.error)  # all that zipfile raises


class DamagedError(ValueError):
    """The container contradicts itself or its length; the message names the place."""


class Archive(Protocol):
    """An opened checkpoint: ``pickled`` is its object, ``read`` the bytes of one storage, little-endian."""

    pickled: Unpickled

    def read(self, storage: StorageRef) -> bytes:
        """Exactly ``storage.numel`` elements. Raises DamagedError if the file does not hold them."""


class ZipArchive:
    """``<name>/data.pkl``, ``<name>/byteorder`` and one stored record ``<name>/data/<key>`` a storage.

    The pickle has ``max_pickle_bytes`` at most: weights are not in it, but numpy arrays are.
    """

    def __init__(self, file: BinaryIO, max_pickle_bytes: int = MAX_PICKLE_BYTES):
        self.file_bytes = _size(file)
        try:
            self.zip = zipfile.ZipFile(file)
        except BROKEN_ZIP as error:
            raise DamagedError("the zip's directory cannot be read: the file may be cut short") from error
        entries = self.zip.namelist()
        names = [name for name in entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if entries and all(name.endswith(".npy") for name in entries):
            raise DamagedError("this is an NPZ file of arrays, not a file of torch.save")
        if len(names) != 1:
            raise DamagedError(
                f"this is a zip that holds {len(names)} files called data.pkl; one of torch.save holds one"
            )
        self.prefix = names[0].removesuffix("data.pkl")
        if self.prefix + "constants.pkl" in self.zip.NameToInfo:
            raise DamagedError("this is a TorchScript program, not a checkpoint; save the network's state_dict instead")
        if sum(info.file_size for info in self.zip.infolist()) > self.file_bytes:
            raise DamagedError("the records claim more bytes than the file has")
        order = self.record("byteorder", 16) if self.prefix + "byteorder" in self.zip.NameToInfo else b"little"
        self.big_endian = order == b"big"
        self.pickled = unpickle(io.BytesIO(self.record("data.pkl", max_pickle_bytes)))

    def record(self, name: str, max_bytes: int) -> bytes:
        """The bytes of one record, its checksum verified."""
        info = self.zip.NameToInfo.get(self.prefix + name)
        if info is None:
            raise DamagedError(f"record {name:.40} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise DamagedError(f"record {name:.40} is compressed; torch.save stores records as they are")
        if info.file_size > max_bytes:
            raise DamagedError(f"record {name:.40} has {info.file_size} bytes, at most {max_bytes} are accepted")
        try:
            return self.zip.read(info)
        except BROKEN_ZIP as error:
            raise DamagedError(
                f"record {name:.40} is damaged: its checksum or its place in the zip is wrong"
            ) from error

    def read(self, storage: StorageRef) -> bytes:
        """See Archive."""
        data = self.record(f"data/{storage.key}", self.file_bytes)
        if len(data) != storage.num_bytes:
            raise DamagedError(
                f"storage {storage.key:.40} has {len(data)} bytes, its type and size ask for {storage.num_bytes}"
            )
        return _swapped(data, ITEM_BYTES[storage.dtype]) if self.big_endian else data


class StreamArchive:
    """Pickles of magic number, version, system, object and keys, then a length and the bytes of every storage.

    The pickles have ``max_pickle_bytes`` at most, together.
    """

    def __init__(self, file: BinaryIO, max_pickle_bytes: int = MAX_PICKLE_BYTES):
        self.file = file
        self.file_bytes = _size(file)
        head = io.BytesIO(file.read(max_pickle_bytes))
        _, version, system = (unpickle(head).value for _ in range(3))
        if version != STREAM_VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
            raise DamagedError(f"a stream of an unknown version; accepted is little-endian version {STREAM_VERSION}")
        self.pickled = unpickle(head)
        self.starts = self.locate(unpickle(head).value, head.tell())

    def locate(self, keys: Any, position: int) -> dict[str, int]:
        """The start of each storage's bytes, in the order of ``keys``; the first length is at ``position``."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise DamagedError("the list of storage keys cannot be read")
        starts = {}
        for key in keys:
            storage = self.pickled.storages.get(key)
            self.file.seek(position)
            length = self.file.read(8)
            if storage is None or len(length) < 8 or struct.unpack("<q", length)[0] != storage.numel:
                raise DamagedError(f"storage {key:.40} is cut short or not the size that was announced")
            starts[key] = position + 8
            position = starts[key] + storage.num_bytes
            if position > self.file_bytes:
                raise DamagedError(f"storage {key:.40} reaches past the end of the file, which may be cut short")
        return starts

    def read(self, storage: StorageRef) -> bytes:
        """See Archive."""
        if storage.key not in self.starts:
            raise DamagedError(f"storage {storage.key:.40} is missing")
        self.file.seek(self.starts[storage.key])
        return self.file.read(storage.num_bytes)


def archive_in(file: BinaryIO, max_pickle_bytes: int = MAX_PICKLE_BYTES) -> Archive | None:
    """The archive in ``file``, which stands at its beginning; None if its first bytes are not those of torch.save.

    Raises DamagedError or UnreadableError for one that cannot be read.
    """
    start = file.read(64)
    file.seek(0)
    if start.startswith(ZIP_MAGIC):
        return ZipArchive(file, max_pickle_bytes)
    return StreamArchive(file, max_pickle_bytes) if is_stream(start) else None


def is_stream(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is the stream that torch.save wrote before torch 1.6."""
    return start.startswith(b"\x80") and STREAM_MAGIC in start[:32]


def _size(file: BinaryIO) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _swapped(data: bytes, itemsize: int) -> bytes:
    return np.frombuffer(data, f">u{itemsize}").astype(f"<u{itemsize}").tobytes()
