"""Counting of what would wait for a GPU: every reading of a tensor, on tensors of the processor.

Checks of values that only tensors of the processor undergo do not count.
"""

import traceback
from collections import Counter

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# operators that tell the host a value, or the size of a result by values
READING = {
    *("equal", "nonzero", "masked_select", "bincount"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"),
    *("strided_map", "grid_sample"),
}
METHODS = {getattr(torch.Tensor, name) for name in ("tolist", "numpy", "item", "new_tensor")}
METHODS |= {getattr(torch.Tensor, f"__{name}__") for name in ("bool", "int", "float", "index")}
ON_HOST = "pointops/values.py"


class ReadBacks(TorchFunctionMode):
    """While it is entered, counts the places in the code that read a tensor; ``places`` has each with its number."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()
        self._operators = _Operators(self.places)

    @property
    def count(self) -> int:
        """Of all places."""
        return self.places.total()

    def __enter__(self) -> "ReadBacks":
        self._operators.__enter__()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._operators.__exit__(*error)

    def __torch_function__(self, function, types, arguments=(), named=None):
        if function in METHODS:
            _count(self.places)
        return function(*arguments, **(named or {}))


class _Operators(TorchDispatchMode):
    def __init__(self, places: Counter[str]):
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        named = named or {}
        name = function._schema.name.partition("::")[2]
        masked = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in arguments[1]
        )
        unsized = name == "repeat_interleave" and named.get("output_size") is None
        if name in READING or masked or unsized:
            _count(self.places)
        return function(*arguments, **named)


def _count(places: Counter[str]) -> None:
    """Adds the line of this repository that runs, and what called it."""
    frames = [frame for frame in traceback.extract_stack() if "/app/" in frame.filename or "/libs/" in frame.filename]
    if not any(frame.filename.endswith(ON_HOST) for frame in frames):
        lines = (f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[:-4:-1])
        places[" < ".join(lines)] += 1
