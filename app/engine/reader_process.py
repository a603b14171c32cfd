"""The process that decodes and encodes files: ``python -m app.engine.reader_process --fd N --memory-mib M …``.

It trusts nothing that it reads, holds nothing worth stealing, and may be killed at any time.
"""

import argparse
import ctypes
import errno
import gc
import hashlib
import logging
import mmap
import os
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from app.clouds import catalog, formats, laz, rows
from app.clouds.summary import Summary
from app.diagnostics.machine import resident_bytes
from app.engine import arrays, joining
from app.engine.channel import Channel, ChannelError, MessageTooLarge, close_all
from app.engine.child import READER_OOM_SCORE, tie_to_parent
from app.engine.packed import Packed, PackedRing, parts, unpack_cloud, unpack_segmentation
from app.engine.protocol import (
    ArraySpec,
    Border,
    CloudFile,
    CloudMeta,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Failure,
    Idle,
    Join,
    MemoryNeeded,
)
from app.errors import BadCloud, Problem, TooLarge, storage_problem
from app.settings import MIB

Answer = Decoded | Encoded | MemoryNeeded | Failure
Handled = tuple[Answer, list[int], object]
"""An answer, the descriptors that go with it, and what to hold until it is sent."""

BEGIN_S = 10.0  # on a busy machine, for threads to begin

log = logging.getLogger(__name__)


def main() -> None:
    """Serve requests until the parent closes the channel."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--memory-mib", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True, help="that work on blocks of rows")
    parser.add_argument("--unpacking-threads", type=int, required=True, help="that work on chunks of LAZ")
    parser.add_argument("--log-level", required=True)
    parser.add_argument("--spool-dir", help="where decoders put files, unless in the system's temporary folder")
    arguments = parser.parse_args()
    tie_to_parent(READER_OOM_SCORE)
    logging.basicConfig(format="reader %(levelname)s %(message)s", level=arguments.log_level.upper())
    tempfile.tempdir = arguments.spool_dir
    channel = Channel(socket.socket(fileno=arguments.fd))
    catalog.load_all()
    gc.collect()
    gc.freeze()  # so that collecting after each file looks at what the file left, not at all that was imported
    laz.start_threads(arguments.unpacking_threads)  # before others: the first threads get arenas of malloc of their own
    rows.start_threads(arguments.threads)
    latest_s = time.monotonic() + BEGIN_S
    while not others_wait() and time.monotonic() < latest_s:  # who begins later takes its arena out of a file's memory
        time.sleep(0.001)
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    limit_memory(arguments.memory_mib)
    try:
        while True:
            channel.send(Idle(resident_bytes(), time.process_time()))
            serve(channel, arguments.memory_mib)
            gc.collect()  # a decoder's cycles may hold the whole file
            libc.malloc_trim(0)
    except ChannelError:
        return


def others_wait() -> bool:
    """Whether all threads of this process but the calling one sleep, so that none has yet to begin."""
    own = threading.get_native_id()
    return all(_sleeps(task) for task in Path("/proc/self/task").iterdir() if int(task.name) != own)


def _sleeps(task: Path) -> bool:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] == "S"
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended


def limit_memory(memory_mib: int) -> None:
    """Let this process take ``memory_mib`` beyond what its imports and threads have taken: of address space, and of
    memory of its own, since arenas of malloc hold address space for much more than they have."""
    with open("/proc/self/statm") as file:
        sizes = [int(pages) * mmap.PAGESIZE for pages in file.read().split()]
    for kind, taken_bytes in ((resource.RLIMIT_AS, sizes[0]), (resource.RLIMIT_DATA, sizes[5])):
        limit = taken_bytes + memory_mib * MIB
        resource.setrlimit(kind, (limit, limit))


def serve(channel: Channel, memory_mib: int) -> None:
    """Answer one request; raises ChannelError if the parent is gone."""
    request, fds = channel.receive()
    answer: Answer
    results: list[int] = []
    held: object = None  # large arrays and mappings: to give them back takes time, which nobody need wait for
    try:
        answer, results, held = HANDLERS[type(request)](request, fds)
    except Problem as problem:
        answer = Failure.of(problem)
    except (MemoryError, OSError) as error:
        log.exception("%s failed", type(request).__name__)
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            answer = Failure.of(storage_problem(error, "the cloud"))
        else:
            answer = Failure.of(out_of_memory(request, memory_mib))
    except BaseException as error:  # a panic of a decoder written in Rust is no Exception
        log.exception("%s failed", type(request).__name__)
        answer = Failure.of(Problem(f"The file could not be handled ({type(error).__name__})."))
    finally:
        close_all(fds)
    try:
        channel.send(answer, results)
    except MessageTooLarge as problem:
        channel.send(Failure.of(problem))
    finally:
        close_all(results)
        del held


def out_of_memory(request: Decode | Join | Encode, memory_mib: int) -> Problem:
    """What it means that the limit of memory was reached."""
    much = f"needs more than the {memory_mib} MiB of memory that one file may take on this server."
    if isinstance(request, Decode):
        return BadCloud(f"The file {much}")
    if isinstance(request, Join):
        return TooLarge(f"Joining the tile with its neighbours {much} Cut the survey into smaller tiles.")
    return TooLarge(f"Writing the answer as {request.output} {much} Ask for less, or cut the cloud into tiles.")


def decode(request: Decode, fds: list[int]) -> Handled:
    """Read the file and put the cloud into a new memory file, if there is enough memory for it; so its ring."""
    options, data = request.options, view(fds[0])
    how: dict[str, Any] = {"max_points": request.max_points, "keep": request.keep, "output": options.output or ""}
    if request.max_bytes:
        needs = formats.reading_needs(data, **options.reading, **how)
        work_bytes = needs.work_bytes + (needs.cloud_bytes if request.border else 0)
        if work_bytes + needs.cloud_bytes > request.max_bytes:
            return MemoryNeeded(needs.num_points, work_bytes, needs.cloud_bytes), [], data
    with arrays.ArrayFile() as file:
        layout, meta, ring = _read(data, file, request.border, **options.reading, **how)
        found = [file.seal()]
    if ring is None:
        return Decoded(layout[0].shape[0], layout, meta), found, data
    found.append(ring.detach())
    return Decoded(layout[0].shape[0], layout, meta, CloudFile(ring.layout, ring.meta)), found, data


def _read(
    data: memoryview, file: arrays.ArrayFile, border: Border | None, **how: Any
) -> tuple[list[ArraySpec], CloudMeta, PackedRing | None]:
    """The cloud in ``data``, of which nothing but what is in ``file`` is left, and its ring."""
    with rows.made_by(file.empty):
        cloud = formats.read(data, **how)
    columns, meta = parts(cloud)
    layout = file.add(columns)
    return layout, meta, joining.cut(cloud, border) if border else None


def join(request: Join, fds: list[int]) -> Handled:
    """Put tile and context into a new memory file."""
    tile = Packed(fds[0], request.cloud.layout, request.cloud.meta)
    rings = [
        PackedRing(fd, ring.layout, ring.meta, inner)
        for fd, ring, inner in zip(fds[1:], request.rings, request.inners, strict=True)
    ]
    whole = joining.join(tile, rings, request)
    return Decoded(whole.num_points, whole.layout, whole.meta), [whole.detach()], None


def encode(request: Encode, fds: list[int]) -> Handled:
    """Write the answer into its target or into a new memory file, if there is enough memory for it."""
    cloud = unpack_cloud(Packed(fds[0], request.cloud_layout, request.cloud_meta))
    segmentation = unpack_segmentation(Packed(fds[1], request.layout, request.meta))
    source = view(fds[2]) if request.has_source else None
    if request.max_bytes:
        work_bytes, result_bytes = formats.writing_needs(request.output, cloud, segmentation, source)
        if work_bytes + result_bytes > request.max_bytes:
            return MemoryNeeded(len(cloud), work_bytes, result_bytes), [], source
    parts = formats.write_parts(request.output, cloud, segmentation, source)
    held = cloud, segmentation, source, parts
    blocks = [np.frombuffer(part, np.uint8).data for part in parts if memoryview(part).nbytes]
    media_type, suffix = catalog.WRITERS[request.output].media_type, catalog.FORMATS[request.output].suffix
    encoded = Encoded(sum(map(len, blocks)), media_type, suffix, segmentation.meta.warnings)
    if request.sums_up:
        summary = Summary.of(cloud, segmentation.labels)
        encoded = replace(encoded, sha256=digest(blocks), summary=summary)
    if request.has_target:
        return replace(encoded, errno=written(blocks, fds[-1])), [], held
    return encoded, [arrays.pack_bytes(blocks)], held


def digest(blocks: Sequence[memoryview]) -> str:
    """SHA-256 of the file of ``blocks``."""
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def written(blocks: Sequence[memoryview], fd: int) -> int:
    """0 once the file ``fd`` holds nothing but ``blocks``, else the number of the error that kept it from that."""
    end = 0
    try:
        os.ftruncate(fd, 0)
        for block in blocks:
            while block:
                num_bytes = os.pwrite(fd, block, end)
                block, end = block[num_bytes:], end + num_bytes
    except OSError as error:
        return error.errno or errno.EIO
    return 0


HANDLERS: dict[type, Callable[[Any, list[int]], Handled]] = {Decode: decode, Join: join, Encode: encode}


def view(fd: int) -> memoryview:
    """The bytes of a file, mapped read-only."""
    if os.fstat(fd).st_size == 0:
        return memoryview(b"")
    return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))


if __name__ == "__main__":
    main()
