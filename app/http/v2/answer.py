"""The answer to an inference request: JSON, then the outputs that were asked for as binary data."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson
from typing_extensions import NotRequired, TypedDict

from app.engine.answer import Answer
from app.engine.body import Spool
from app.http.v2.tensors import NUMPY

DATATYPES = {"I32": "INT32", "F32": "FP32", "U8": "UINT8"}
SLICE_BYTES = 1 << 20
SLICE_NUMBERS = 1 << 16
MAX_HEAD_BYTES = 1 << 24
WINDOW_BITS = {"gzip": 31, "deflate": 15}


class InferenceOutput(TypedDict):
    """Values of every point."""

    name: str
    datatype: str
    shape: list[int]
    data: NotRequired[list[float | None]]
    parameters: NotRequired[dict[str, int]]


class InferenceHeader(TypedDict):
    """The JSON of an answer without its outputs."""

    model_name: str
    model_version: str
    id: NotRequired[str]
    parameters: dict[str, str | int]


class InferenceAnswer(InferenceHeader):
    """The JSON of an answer; binary data of its outputs come after it."""

    outputs: list[InferenceOutput]


@dataclass(frozen=True)
class OutputTensor:
    """An array in the answer's file: bytes ``begin`` to ``end``."""

    name: str
    datatype: str
    shape: list[int]
    begin: int
    end: int

    def described(self, is_binary: bool) -> InferenceOutput:
        """As the JSON states it, without its numbers."""
        output: InferenceOutput = {"name": self.name, "datatype": self.datatype, "shape": self.shape}
        if is_binary:
            output["parameters"] = {"binary_data_size": self.end - self.begin}
        return output


def outputs_of(answer: Answer) -> dict[str, OutputTensor]:
    """What the safetensors file of ``answer`` holds."""
    length = int.from_bytes(os.pread(answer.fd, 8, 0), "little")
    if length > min(MAX_HEAD_BYTES, answer.size - 8):
        raise ValueError(f"the answer's header has {length} of {answer.size} bytes")
    entries = orjson.loads(os.pread(answer.fd, length, 8))
    entries.pop("__metadata__", None)
    found = {}
    for name, entry in entries.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        if not 0 <= begin <= end <= answer.size:
            raise ValueError(f"the answer's array {name!r} lies from {begin} to {end} of {answer.size} bytes")
        found[name] = OutputTensor(name, DATATYPES[entry["dtype"]], entry["shape"], begin, end)
    return found


def write_json(file: Spool, header: InferenceHeader, answer: Answer, outputs: list[tuple[OutputTensor, bool]]) -> None:
    """Write ``header`` with ``outputs`` to ``file``, with the numbers of those that are not binary."""
    file.write(orjson.dumps(header)[:-1] + b',"outputs":[')
    for place, (output, is_binary) in enumerate(outputs):
        file.write(b"," if place else b"")
        described = orjson.dumps(output.described(is_binary))
        if is_binary:
            file.write(described)
            continue
        file.write(described[:-1] + b',"data":[')
        for chunk in _numbers(answer.fd, output):
            file.write(chunk)
        file.write(b"]}")
    file.write(b"]}")


def slices(fd: int, begin: int, end: int) -> Iterator[bytes]:
    """Bytes ``begin`` to ``end`` of ``fd`` in pieces."""
    for offset in range(begin, end, SLICE_BYTES):
        yield os.pread(fd, min(SLICE_BYTES, end - offset), offset)


def compressed(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """``chunks`` in gzip or deflate, whichever ``encoding`` is."""
    compress = zlib.compressobj(1, wbits=WINDOW_BITS[encoding])
    for chunk in chunks:
        if out := compress.compress(chunk):
            yield out
    yield compress.flush()


def _numbers(fd: int, output: OutputTensor) -> Iterator[bytes]:
    dtype = np.dtype(NUMPY[output.datatype])
    step = SLICE_NUMBERS * dtype.itemsize
    for offset in range(output.begin, output.end, step):
        values = np.frombuffer(os.pread(fd, min(step, output.end - offset), offset), dtype)
        yield b"," if offset > output.begin else b""
        yield orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
