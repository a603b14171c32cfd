"""Numpy arrays in anonymous memory files, to be handed to another process as a descriptor.

The kernel frees such a file when the last process that holds it ends, however it ends, and its size is not bounded
by /dev/shm. Files are sealed once written: the receiver's views can neither change nor vanish under it.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from types import TracebackType

import numpy as np

from app.engine.protocol import ArraySpec

ALIGNMENT_BYTES = 64
LEAST_MAPPED_BYTES = 1 << 16
DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class ArrayFile:
    """A memory file being written, until ``seal``; arrays that ``empty`` made lie in it and are not copied."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("pointserve", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._size = 0
        self._unused: dict[int, int] = {}  # bytes by place of the arrays that were made and not added

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array like that of ``np.empty``, in this file if it is large; raises MemoryError."""
        num_bytes = prod(shape) * dtype.itemsize
        if num_bytes < LEAST_MAPPED_BYTES:
            return np.empty(shape, dtype)
        offset = self._grow(num_bytes, mmap.PAGESIZE)
        try:
            memory = _Region(self._fd, num_bytes, offset=offset)
        except OSError as error:
            raise MemoryError(f"{num_bytes} bytes") from error
        memory.file, memory.offset = self, offset
        self._unused[offset] = num_bytes
        return np.frombuffer(memory, dtype).reshape(shape)

    def add(self, arrays: Mapping[str, np.ndarray]) -> list[ArraySpec]:
        """Copy those of ``arrays`` that do not lie here yet; the places of all.

        Raises ValueError for a dtype that is not plain numbers (``DTYPES``, either byte order).
        """
        layout = []
        for name, values in arrays.items():
            dtype = values.dtype.newbyteorder("<").str
            if dtype not in DTYPES:
                raise ValueError(f"column {name!r} holds {values.dtype}, expected integers, floats or booleans")
            offset = self._place(values)
            if offset is None:
                offset = self._grow(values.nbytes, ALIGNMENT_BYTES)
                self._write(_bytes_of(values, dtype), offset)
            layout.append(ArraySpec(name, dtype, values.shape, offset))
        return layout

    def add_pieces(self, spec: ArraySpec, pieces: Iterable[np.ndarray]) -> ArraySpec:
        """Append an array that comes piece by piece along its first axis; ``spec`` with its place."""
        end = offset = self._grow(prod(spec.shape) * np.dtype(spec.dtype).itemsize, ALIGNMENT_BYTES)
        for piece in pieces:
            self._write(_bytes_of(piece, spec.dtype), end)
            end += piece.size * np.dtype(spec.dtype).itemsize
        if end != self._size:
            raise ValueError(f"column {spec.name!r} has {end - offset} bytes, expected were {self._size - offset}")
        return replace(spec, offset=offset)

    def add_bytes(self, data: bytes | memoryview | mmap.mmap) -> None:
        """Append the bytes of ``data``, which is contiguous."""
        offset = self._grow(memoryview(data).nbytes, 1)
        if offset < self._size:
            self._write(np.frombuffer(data, np.uint8).data, offset)

    def seal(self) -> int:
        """The descriptor of the finished file, the caller's to close.

        It is a copy if any array of ``empty`` is still in use, as nobody may write into a sealed file.
        """
        for offset, num_bytes in self._unused.items():
            with mmap.mmap(self._fd, num_bytes, offset=offset) as memory:
                memory.madvise(mmap.MADV_REMOVE)
        self._grow(0 if self._size else ALIGNMENT_BYTES, 1)
        try:
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            with ArrayFile() as copy, mmap.mmap(self._fd, 0, access=mmap.ACCESS_READ) as whole:
                copy.add_bytes(whole)
                return copy.seal()
        fd, self._fd = self._fd, -1
        return fd

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def _grow(self, num_bytes: int, alignment: int) -> int:
        """Make the file longer by ``num_bytes``; where they begin."""
        offset = -(-self._size // alignment) * alignment
        self._size = offset + num_bytes
        os.ftruncate(self._fd, self._size)
        return offset

    def _place(self, values: np.ndarray) -> int | None:
        """Where ``values`` lie in this file; None if they do not, as a whole and in order."""
        memory: object = values
        while isinstance(memory, np.ndarray):
            memory = memory.base
        if isinstance(memory, memoryview):
            memory = memory.obj
        if not isinstance(memory, _Region) or memory.file is not self or memory.offset not in self._unused:
            return None
        if values.nbytes != len(memory) or not values.flags.c_contiguous:
            return None
        del self._unused[memory.offset]
        return memory.offset

    def _write(self, data: memoryview, offset: int) -> None:
        while data:
            written = os.pwrite(self._fd, data, offset)
            data, offset = data[written:], offset + written


def _bytes_of(values: np.ndarray, dtype: str) -> memoryview:
    """``values`` as ``dtype`` in order, as bytes."""
    return np.ascontiguousarray(values, dtype).reshape(-1).view(np.uint8).data


class _Region(mmap.mmap):
    """The part of ``file`` from byte ``offset`` on, mapped."""

    file: ArrayFile
    offset: int


def pack(arrays: Mapping[str, np.ndarray]) -> tuple[int, list[ArraySpec]]:
    """Copy arrays into a new sealed memory file; returns its descriptor, the caller's to close, and the layout.

    Raises ValueError as ``ArrayFile.add`` does.
    """
    with ArrayFile() as file:
        layout = file.add(arrays)
        return file.seal(), layout


def pack_bytes(parts: Iterable[bytes | memoryview]) -> int:
    """Copy the parts of a finished file into a new sealed memory file; its descriptor is the caller's to close."""
    with ArrayFile() as file:
        for part in parts:
            file.add_bytes(part)
        return file.seal()


def unpack(fd: int, layout: Iterable[ArraySpec]) -> dict[str, np.ndarray]:
    """Views of the arrays in a memory file, private to this process and writable; they outlive the descriptor.

    Raises ValueError if ``check`` does.
    """
    layout = list(layout)
    check(fd, layout)
    memory = mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)
    return {
        spec.name: np.frombuffer(memory, spec.dtype, prod(spec.shape), spec.offset).reshape(spec.shape)
        for spec in layout
    }


def check(fd: int, layout: Iterable[ArraySpec]) -> None:
    """Raise ValueError unless the file is sealed and holds every array of ``layout``, in a numeric dtype, aligned."""
    size = check_sealed(fd)
    names: set[str] = set()
    for spec in layout:
        if spec.dtype not in DTYPES:
            raise ValueError(f"array {spec.name!r} has dtype {spec.dtype!r}, which is not plain numbers")
        if spec.name in names or spec.offset < 0 or spec.offset % ALIGNMENT_BYTES or min(spec.shape, default=0) < 0:
            raise ValueError(f"array {spec.name!r} has a bad place: offset {spec.offset}, shape {spec.shape}")
        end = spec.offset + prod(spec.shape) * np.dtype(spec.dtype).itemsize
        if end > size:
            raise ValueError(f"array {spec.name!r} ends at byte {end} of a file of {size}")
        names.add(spec.name)


def check_sealed(fd: int) -> int:
    """The size in bytes of a sealed memory file that is not empty; ValueError for any other file."""
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ValueError("the descriptor is no memory file") from error
    size = os.fstat(fd).st_size
    if seals & _SEALS != _SEALS or size == 0:
        raise ValueError(f"the memory file of {size} bytes is empty or not sealed")
    return size
