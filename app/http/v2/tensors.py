"""The input and output tensors of the Open Inference protocol, and numpy's names for their types."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.clouds import fields
from app.errors import BadRequest, quoted

NUMPY = {
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
NUMBERS = tuple(NUMPY)
FILE = "file"


@dataclass(frozen=True)
class InputSpec:
    """An input: ``width`` numbers a point, 1 for a vector; the first of ``datatypes`` is the one in the metadata."""

    width: int
    datatypes: tuple[str, ...]
    optional: bool = True

    @property
    def shape(self) -> list[int]:
        """As the metadata state it."""
        return [-1] if self.width == 1 else [-1, self.width]


INPUTS = {
    "coord": InputSpec(3, ("FP64", "FP32"), optional=False),
    "color": InputSpec(3, ("UINT8", *NUMBERS)),
    "normal": InputSpec(3, ("FP32", *NUMBERS)),
    "strength": InputSpec(1, ("FP32", *NUMBERS)),
}
OUTPUTS = {field.array_name: field for field in fields.OUTPUTS.values()}
DEFAULT_OUTPUTS = ("labels", "confidence", "probabilities")  # if a request names none


DATATYPES = {np.dtype(dtype).str: name for name, dtype in NUMPY.items()}  # by numpy's name


def check_points(name: str, datatype: str, shape: Sequence[int]) -> int:
    """The number of points of the input ``name``; raises BadRequest for a type or shape that it cannot have."""
    spec = INPUTS[name]
    if datatype not in spec.datatypes:
        raise BadRequest(f"Input {name!r} has datatype {quoted(datatype)}; it can be {', '.join(spec.datatypes)}.")
    fits = list(shape[1:]) == [spec.width] or (spec.width == 1 and len(shape) == 1)
    if not fits or shape[0] < 0:
        expected = "[N]" if spec.width == 1 else f"[N, {spec.width}]"
        raise BadRequest(
            f"Input {name!r} has shape {list(shape)[:9]}; expected {expected}, N being the number of points, 0 or more."
        )
    return shape[0]


def from_binary(data: memoryview, name: str, datatype: str, shape: Sequence[int]) -> np.ndarray:
    """``data`` seen as an array; raises BadRequest if its size is another."""
    dtype = np.dtype(NUMPY[datatype])
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise BadRequest(
            f"Input {name!r} has binary_data_size {len(data)}; {datatype} of shape {list(shape)} is {expected} bytes."
        )
    return np.frombuffer(data, dtype).reshape(shape)


def from_json(data: object, name: str, datatype: str, shape: Sequence[int]) -> np.ndarray:
    """``data``, numbers in one list or nested as ``shape`` says, as an array."""
    dtype = np.dtype(NUMPY[datatype])
    try:
        values = np.array(data)
    except (ValueError, OverflowError):
        values = np.empty(0, object)
    if values.size == 0 and 0 in shape:
        values = np.empty(0, dtype)
    if values.dtype.kind not in ("iu" if dtype.kind in "iu" else "iuf"):
        raise BadRequest(f"Input {name!r}: 'data' is not a list of {datatype} numbers.")
    if values.size != math.prod(shape):
        raise BadRequest(f"Input {name!r}: 'data' has {values.size} numbers, shape {list(shape)} has another number.")
    if dtype.kind in "iu" and values.size:
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise BadRequest(f"Input {name!r}: 'data' holds a number that {datatype} cannot.")
    with np.errstate(over="ignore"):
        return values.astype(dtype).reshape(shape)
