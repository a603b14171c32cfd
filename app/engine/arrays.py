"""Numpy arrays in anonymous memory files, to be handed to another process as a descriptor.

The kernel frees such a file when the last process that holds it ends, however it ends, and its size is not bounded
by /dev/shm. Files are sealed once written: the receiver's views can neither change nor vanish under it.
"""

import fcntl
import mmap
import os
from collections.abc import Iterable, Mapping
from math import prod

import numpy as np

from app.engine.protocol import ArraySpec

ALIGNMENT_BYTES = 64
DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def pack(arrays: Mapping[str, np.ndarray]) -> tuple[int, list[ArraySpec]]:
    """Copy arrays into a new sealed memory file; returns its descriptor, the caller's to close, and the layout.

    Raises ValueError for a dtype that is not plain numbers (``DTYPES``, either byte order).
    """
    layout: list[ArraySpec] = []
    end = 0
    for name, values in arrays.items():
        dtype = values.dtype.newbyteorder("<").str
        if dtype not in DTYPES:
            raise ValueError(f"column {name!r} holds {values.dtype}, expected integers, floats or booleans")
        offset = -(-end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        layout.append(ArraySpec(name, dtype, values.shape, offset))
        end = offset + values.nbytes
    chunks = (
        (spec.offset, np.ascontiguousarray(values, spec.dtype).reshape(-1).view(np.uint8))
        for spec, values in zip(layout, arrays.values(), strict=True)
    )
    return _sealed_file(max(end, ALIGNMENT_BYTES), chunks), layout


def pack_bytes(data: bytes) -> int:
    """Copy a finished file into a new sealed memory file; returns its descriptor, the caller's to close."""
    return _sealed_file(len(data), [(0, np.frombuffer(data, np.uint8))])


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


def _sealed_file(size: int, chunks: Iterable[tuple[int, np.ndarray]]) -> int:
    fd = os.memfd_create("pointserve", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        for offset, values in chunks:
            data = values.data
            while data:
                written = os.pwrite(fd, data, offset)
                data, offset = data[written:], offset + written
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd
