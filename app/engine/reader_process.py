"""The process that decodes and encodes files: ``python -m app.engine.reader_process --fd N --memory-mib M …``.

It trusts nothing that it reads, holds nothing worth stealing, and may be killed at any time.
"""

import argparse
import ctypes
import errno
import gc
import logging
import mmap
import os
import resource
import socket
import tempfile
import time
from typing import Any

from app.clouds import catalog, formats, laz, rows
from app.diagnostics.machine import resident_bytes
from app.engine import arrays
from app.engine.channel import Channel, ChannelError, MessageTooLarge, close_all
from app.engine.child import READER_OOM_SCORE, tie_to_parent
from app.engine.packed import Packed, parts, unpack_cloud, unpack_segmentation
from app.engine.protocol import (
    ArraySpec,
    CloudMeta,
    Decode,
    Decoded,
    Encode,
    Encoded,
    Failure,
    Idle,
    MemoryNeeded,
)
from app.errors import BadCloud, Problem, TooLarge, storage_problem
from app.settings import MIB

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
    answer: Decoded | Encoded | MemoryNeeded | Failure
    results: list[int] = []
    held: object = None  # large arrays and mappings: to give them back takes time, which nobody need wait for
    try:
        answer, results, held = decode(request, fds[0]) if isinstance(request, Decode) else encode(request, fds)
    except Problem as problem:
        answer = failure(problem)
    except (MemoryError, OSError) as error:
        log.exception("%s failed", type(request).__name__)
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            answer = failure(storage_problem(error, "the cloud"))
        else:
            answer = failure(out_of_memory(request, memory_mib))
    except BaseException as error:  # a panic of a decoder written in Rust is no Exception
        log.exception("%s failed", type(request).__name__)
        answer = Failure(Problem.status, f"The file could not be handled ({type(error).__name__}).")
    finally:
        close_all(fds)
    try:
        channel.send(answer, results)
    except MessageTooLarge as problem:
        channel.send(failure(problem))
    finally:
        close_all(results)
        del held


def out_of_memory(request: Decode | Encode, memory_mib: int) -> Problem:
    """What it means that the limit of memory was reached."""
    much = f"needs more than the {memory_mib} MiB of memory that one file may take on this server."
    if isinstance(request, Decode):
        return BadCloud(f"The file {much}")
    return TooLarge(f"Writing the answer as {request.output} {much} Ask for less, or cut the cloud into tiles.")


def failure(problem: Problem) -> Failure:
    """``problem`` as a message."""
    return Failure(problem.status, problem.detail, columns=problem.columns, retry_after_s=problem.retry_after_s)


def decode(request: Decode, fd: int) -> tuple[MemoryNeeded | Decoded, list[int], object]:
    """Read the file ``fd`` and put the cloud into a new memory file, if there is enough memory for it.

    Gives the answer, the descriptors that go with it, and what to hold until it is sent.
    """
    options, data = request.options, view(fd)
    limits: dict[str, Any] = {"max_points": request.max_points, "keep": request.keep}
    if request.max_bytes:
        needs = formats.reading_needs(data, **options.reading, **limits)
        if needs.work_bytes + needs.cloud_bytes > request.max_bytes:
            return MemoryNeeded(needs.num_points, needs.work_bytes, needs.cloud_bytes), [], data
    with arrays.ArrayFile() as file:
        layout, meta = _read(data, file, **options.reading, **limits)
        return Decoded(layout[0].shape[0], layout, meta), [file.seal()], data


def _read(data: memoryview, file: arrays.ArrayFile, **how: Any) -> tuple[list[ArraySpec], CloudMeta]:
    """The cloud in ``data``, of which nothing but what is in ``file`` is left."""
    with rows.made_by(file.empty):
        cloud = formats.read(data, **how)
    columns, meta = parts(cloud)
    return file.add(columns), meta


def encode(request: Encode, fds: list[int]) -> tuple[MemoryNeeded | Encoded, list[int], object]:
    """Write the answer into a new memory file, if there is enough memory for it; ``fds`` are those of ``Encode``.

    Gives what ``decode`` does.
    """
    cloud = unpack_cloud(Packed(fds[0], request.cloud_layout, request.cloud_meta))
    segmentation = unpack_segmentation(Packed(fds[1], request.layout, request.meta))
    source = view(fds[2]) if len(fds) == 3 else None
    if request.max_bytes:
        work_bytes, result_bytes = formats.writing_needs(request.output, cloud, segmentation, source)
        if work_bytes + result_bytes > request.max_bytes:
            return MemoryNeeded(len(cloud), work_bytes, result_bytes), [], source
    parts = formats.write_parts(request.output, cloud, segmentation, source)
    num_bytes = sum(memoryview(part).nbytes for part in parts)
    media_type, suffix = catalog.WRITERS[request.output].media_type, catalog.FORMATS[request.output].suffix
    encoded = Encoded(num_bytes, media_type, suffix, segmentation.meta.warnings)
    return encoded, [arrays.pack_bytes(parts)], (cloud, segmentation, source, parts)


def view(fd: int) -> memoryview:
    """The bytes of a file, mapped read-only."""
    if os.fstat(fd).st_size == 0:
        return memoryview(b"")
    return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))


if __name__ == "__main__":
    main()
