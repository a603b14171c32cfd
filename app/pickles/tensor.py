"""Tensors and their storages as a pickle of torch.save describes them, without torch."""

import math
from typing import Any, NamedTuple

import numpy as np

STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
ITEM_BYTES = {name: 2 if name == "bfloat16" else np.dtype(name).itemsize for name in STORAGES.values()}
MAX_NDIM = 16
MAX_EMPTY = 1 << 20  # product of the other lengths of a tensor that has a length of 0


class StorageType(NamedTuple):
    """Stands for a torch storage class; ``dtype`` is the name of torch's."""

    dtype: str


class StorageRef(NamedTuple):
    """A storage by its key in the file, with the number of its elements as the pickle claims it."""

    key: str
    dtype: str
    numel: int

    @property
    def num_bytes(self) -> int:
        """Bytes of all elements."""
        return self.numel * ITEM_BYTES[self.dtype]


class TensorRef(NamedTuple):
    """A tensor as a view of a storage, in elements; nothing of it has been checked."""

    storage: StorageRef
    offset: Any
    size: Any
    stride: Any

    def fault(self) -> str | None:
        """What is wrong with the view; None if it stays within its storage as that claims to be."""
        storage, offset, size, stride = self
        if not (isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= MAX_NDIM):
            return "shape and strides cannot be read"
        if not all(isinstance(n, int) and 0 <= n < 2**63 for n in (offset, storage.numel, *size, *stride)):
            return "shape, strides and offset must be integers from 0"
        numel = math.prod(size)
        spread = math.prod(length or 1 for length in size)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if spread > (storage.numel if numel else MAX_EMPTY) or (numel and last >= storage.numel):
            return f"shape {size} reaches past its storage of {storage.numel} elements"
        return None
