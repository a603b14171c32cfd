"""numpy arrays in pickles, as the pickle describes them; one is made when asked for, after its size is checked."""

import math
import re
from typing import Any, NamedTuple

import numpy as np

NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")


class EncodedBytes(NamedTuple):
    """Bytes that protocol 2 writes as a text of their values; they are made when they are needed."""

    text: str


class Dtype:
    """What a pickle says of a dtype: its ``name``, such as f4, and the ``state`` that holds the byte order."""

    __slots__ = ("name", "state")

    def __init__(self, name: Any):
        self.name = name
        self.state: Any = None

    def numpy(self) -> np.dtype | None:
        """The dtype; None if it is not one of plain numbers."""
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        if not isinstance(self.name, str) or not NUMBERS.fullmatch(self.name) or order not in ("<", ">", "|", "="):
            return None
        return np.dtype(order + self.name)


class Array:
    """What a pickle says of an array: ``state`` is (version, shape, dtype, fortran order, bytes)."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def described(self) -> tuple[tuple[int, ...], np.dtype] | None:
        """Shape and dtype, if the bytes are there; None for arrays of anything but plain numbers."""
        match self.state:
            case (_, tuple(shape), Dtype() as dtype, _, data):
                kind = dtype.numpy()
                size = len(data.text) if isinstance(data, EncodedBytes) else len(data) if _is_bytes(data) else 0
                whole = all(type(length) is int and length >= 0 for length in shape)
                if kind is not None and whole and len(shape) <= 16 and math.prod(shape) * kind.itemsize == size:
                    return shape, kind
        return None

    def numpy(self) -> np.ndarray:
        """The array, if it is ``described``. Raises ValueError if the bytes are none."""
        _, shape, dtype, fortran, data = self.state
        raw = data.text.encode("latin1") if isinstance(data, EncodedBytes) else data if _is_bytes(data) else b""
        return np.frombuffer(raw, dtype.numpy()).reshape(shape, order="F" if fortran is True else "C")


def _is_bytes(data: Any) -> bool:
    """False for what protocol 2 writes for no bytes: a call of ``bytes``."""
    return isinstance(data, bytes | bytearray)


def _reconstruct(*_: Any) -> Any:
    return Array()


def _dtype(name: Any = None, *_: Any) -> Any:
    return Dtype(name)


def _encode(text: Any = None, encoding: Any = None, *_: Any) -> Any:
    return EncodedBytes(text) if isinstance(text, str) and encoding == "latin1" else None


def _frombuffer(data: Any = None, dtype: Any = None, shape: Any = None, order: Any = None, *_: Any) -> Any:
    array = Array()
    array.state = (1, shape, dtype, order == "F", data)
    return array


BUILDERS = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}
