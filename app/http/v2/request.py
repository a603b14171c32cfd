"""Parses an inference request: its JSON, and the tensors behind it in the body."""

import math
import mmap
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError

from app.engine.body import Body
from app.errors import BadRequest, Problem, TooLarge, quoted, shortened
from app.http.v2.parameters import NAMES
from app.http.v2.tensors import FILE, INPUTS, OUTPUTS, check_points, from_binary, from_json
from app.validation import explain

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_NESTED, MAX_VALUES, MAX_KEYS = 500_000, 4_000_000, 100_000
JSON_BYTES = 16 << 20  # larger tensors go as binary data, which no thread has to parse
JSON_TIMES = 24  # what it takes as objects of Python and as arrays, by bytes of text
ABOUT = (
    "Send the JSON of the Open Inference protocol, then the tensors' binary data, and the JSON's length in "
    f"{HEADER_LENGTH}."
)
MAX_DIGITS = 18  # of a length
_parsing = threading.Lock()  # what JSON takes as Python objects is taken once at a time


def _plain(value: Any) -> Any:
    """``value`` if it is text or a number, else None: the content of lists and objects is not kept."""
    return value if isinstance(value, str | int | float) else None


Parameters = Annotated[
    dict[Annotated[str, Field(max_length=100)], Annotated[Any, BeforeValidator(_plain)]],
    Field(max_length=64),
    FailFast(),
]
Name = Annotated[str, Field(max_length=1000)]


class Named(BaseModel):
    """What inputs and outputs have in common; keys of other servers' extensions are let pass."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: Name
    parameters: Parameters = {}

    def parameter(self, name: str) -> Any:
        """A parameter of the binary data extension; raises BadRequest for the ones of extensions not spoken here."""
        for foreign in ("shared_memory_region", "classification"):
            if foreign in self.parameters:
                raise BadRequest(f"Parameter {foreign!r} of {quoted(self.name)}: that extension is not served here.")
        return self.parameters.get(name)


class InputTensor(Named):
    """One input as the JSON states it."""

    shape: Annotated[list[int], Field(max_length=64), FailFast()]
    datatype: Name
    data: Any = None


class InferenceRequest(BaseModel):
    """The JSON of a request."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: str = Field("", max_length=1000)
    parameters: Parameters = Field(
        {}, description=f"Options of a prediction: {', '.join(NAMES)}; or timeout, in microseconds."
    )
    inputs: list[InputTensor] = Field(max_length=16)
    outputs: list[Named] = Field([], max_length=16)


class Tensors:
    """A request over a mapped body. Arrays are views of the body, or of numbers in the JSON."""

    def __init__(self, data: memoryview, header_length: int):
        self.request = _parsed(data[:header_length])
        self._offset = header_length
        self.arrays: dict[str, np.ndarray] = {}
        self.file: memoryview | None = None
        for tensor in self.request.inputs:
            self._add(tensor, data)
        if self._offset != len(data):
            raise BadRequest(
                f"The body has {len(data)} bytes; JSON and binary_data_size of the inputs make {self._offset}. {ABOUT}"
            )
        self._check()

    def wanted(self, unnamed: Iterable[str], possible: Iterable[str]) -> dict[str, bool]:
        """Names of the outputs in order (``unnamed`` if the request has none), and whether each is to be binary.

        Raises BadRequest for one that no model has, naming those that are ``possible`` here.
        """
        by_default = self.request.parameters.get("binary_data_output") is True
        if not self.request.outputs:
            return dict.fromkeys(unnamed, by_default)
        wanted = {}
        for output in self.request.outputs:
            if output.name not in OUTPUTS:
                raise BadRequest(f"There is no output {quoted(output.name)}; there are {', '.join(possible)}.")
            given = output.parameter("binary_data")
            wanted[output.name] = by_default if given is None else given is True
        return wanted

    def _add(self, tensor: InputTensor, data: memoryview) -> None:
        name, size = tensor.name, tensor.parameter("binary_data_size")
        if name not in (*INPUTS, FILE):
            raise BadRequest(f"There is no input {quoted(name)}; there are {', '.join([*INPUTS, FILE])}.")
        if name in self.arrays or (name == FILE and self.file is not None):
            raise BadRequest(f"Input {name!r} is there twice.")
        if (size is None) == (tensor.data is None):
            raise BadRequest(f"Input {name!r} needs either 'data' or the parameter binary_data_size.")
        part = None
        if size is not None:
            if not isinstance(size, int) or not 0 <= size <= len(data) - self._offset:
                raise BadRequest(f"Input {name!r}: binary_data_size {size!r:.30} is not what follows in the body.")
            part = data[self._offset : self._offset + size]
            self._offset += size
        if name == FILE:
            self.file = _file(tensor, part)
            return
        check_points(name, tensor.datatype, tensor.shape)
        place = (name, tensor.datatype, tensor.shape)
        self.arrays[name] = from_json(tensor.data, *place) if part is None else from_binary(part, *place)
        tensor.data = None

    def _check(self) -> None:
        if self.file is not None:
            if self.arrays:
                raise BadRequest(f"Input {FILE!r} holds the whole cloud; leave {', '.join(self.arrays)} out.")
            return
        if "coord" not in self.arrays:
            raise BadRequest(f"Input 'coord' is missing: FP32 or FP64 of shape [N, 3], or {FILE!r}, a whole file.")
        num_points = len(self.arrays["coord"])
        for name, array in self.arrays.items():
            if len(array) != num_points:
                raise BadRequest(f"Input {name!r} has {len(array)} rows, 'coord' has {num_points}.")


@contextmanager
def opened(
    body: Body, header_length: str | None, reserve: Callable[[int], None] = lambda num_bytes: None
) -> Iterator[Tensors]:
    """The request in ``body``; ``header_length`` is the header of that name. Its views end with the block.

    ``reserve`` is called before the JSON is parsed, with the bytes of memory that this takes at most.

    Raises BadRequest for whatever does not fit together, TooLarge for JSON over ``JSON_BYTES`` or of too many values.
    """
    if not body.size:
        raise BadRequest(f"The request has no body. {ABOUT}")
    length = body.size
    if header_length is not None:
        is_number = header_length.isascii() and header_length.isdecimal() and len(header_length) <= MAX_DIGITS
        if not is_number or int(header_length) > body.size:
            raise BadRequest(
                f"{HEADER_LENGTH} is {quoted(header_length)}; expected the length of the JSON in bytes, at most that "
                f"of the body ({body.size} bytes, uncompressed)."
            )
        length = int(header_length)
    if length > JSON_BYTES:
        raise TooLarge(f"The JSON has {length} bytes, at most {JSON_BYTES} are read. Send tensors as binary data.")
    mapped = memoryview(mmap.mmap(body.fd, body.size, access=mmap.ACCESS_READ))
    reserve(JSON_TIMES * length)
    with _parsing:
        try:
            tensors = Tensors(mapped, length)
        except Problem as problem:
            problem.__context__ = None  # which holds, as its traceback does, all that the JSON became
            raise problem.with_traceback(None) from None
    yield tensors


def _parsed(text: memoryview) -> InferenceRequest:
    _check_size(bytes(text))
    try:
        return InferenceRequest.model_validate(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"The request is not valid JSON at line {error.lineno}, column {error.colno}. {ABOUT}"
        ) from None
    except ValidationError as error:
        item = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(shortened(str(part), 60) for part in item["loc"]) or "The request"
        raise BadRequest(f"{place}: {explain(item)}. {ABOUT}") from None


def _check_size(text: bytes) -> None:
    """Raise TooLarge if ``text`` would become more objects than memory is for: each takes up to 200 bytes."""
    limits = ((b"[{", MAX_NESTED, "lists and objects"), (b",", MAX_VALUES, "values"), (b":", MAX_KEYS, "keys"))
    for marks, most, what in limits:
        num_found = sum(text.count(mark) for mark in marks)
        if num_found > most:
            raise TooLarge(
                f"The JSON has {num_found:,} {what}, at most {most:,} are read. Give 'data' as one list of numbers, or "
                "send tensors as binary data."
            )


def _file(tensor: InputTensor, part: memoryview | None) -> memoryview:
    if tensor.datatype != "BYTES" or math.prod(tensor.shape) != 1 or len(tensor.shape) > 2:
        raise BadRequest(
            f"Input {FILE!r} is {quoted(tensor.datatype)} of shape {tensor.shape[:9]}; expected BYTES of shape [1]."
        )
    if part is not None:
        if len(part) < 4 or struct.unpack("<I", part[:4])[0] != len(part) - 4:
            raise BadRequest(f"Input {FILE!r}: its four bytes of length do not state the {len(part) - 4} that follow.")
        return part[4:]
    data = tensor.data
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, str):
        raise BadRequest(f"Input {FILE!r}: 'data' is not one string; send files that are no text as binary data.")
    return memoryview(data.encode("utf-8", "surrogatepass"))
