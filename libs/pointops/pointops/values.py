"""Checks of what indices and offsets hold, on the CPU only: on a GPU a look would wait for the device."""

from collections.abc import Callable

import torch
from torch import Tensor


def checked(name: str, schema: str, dtype: torch.dtype, check: Callable[..., None]) -> Callable[..., Tensor]:
    """A function of (tensor, …) that gives the tensor as ``dtype`` after ``check(tensor, …)``.

    In torch.compile it is one operator, of ``name`` and ``schema``, that looks at the values when the graph runs.
    """

    def run(tensor: Tensor, *others: object) -> Tensor:
        check(tensor, *others)
        return tensor.to(dtype, copy=True)  # an operator may not give its argument back

    operator = torch.library.custom_op(f"pointops::{name}", run, mutates_args=(), schema=schema)
    operator.register_fake(lambda tensor, *others: torch.empty_like(tensor, dtype=dtype))

    def convert(tensor: Tensor, *others: object) -> Tensor:
        if tensor.device.type != "cpu":
            return tensor.to(dtype)
        if torch.compiler.is_compiling():
            return operator(tensor, *others)
        check(tensor, *others)
        return tensor.to(dtype)

    return convert


def _check_index(index: Tensor, rows: int, name: str) -> None:
    """ValueError unless all of ``index`` lies in -1 … rows - 1."""
    if index.numel() == 0:
        return
    low, high = (int(value) for value in index.aminmax())
    if low < -1 or high >= rows:
        raise ValueError(f"{name} holds {low} … {high}; indices of {rows} rows lie in 0 … {rows - 1}, -1 for none")


def _check_offset_of_points(offset: Tensor, points: int, name: str) -> None:
    """ValueError unless the counts in ``offset`` rise to ``points``, those of ``name``."""
    check_rising(f"offset of {name}", offset)
    if int(offset[-1]) != points:
        raise ValueError(f"offset of {name} ends with {int(offset[-1])}; {name} has {points} points")


def _check_offset_of_samples(new_offset: Tensor, offset: Tensor) -> None:
    """Raises ValueError unless the counts rise, and if an empty cloud of ``offset`` has samples."""
    check_rising("new_offset", new_offset)
    points, samples = (counts.diff(prepend=counts.new_zeros(1)) for counts in (offset, new_offset))
    if bool(((points == 0) & (samples > 0)).any()):
        raise ValueError(f"clouds of {points.tolist()[:8]} points cannot give {samples.tolist()[:8]} samples")


def _check_order(order: Tensor, offset: Tensor, name: str) -> None:
    """ValueError unless ``order`` has the points of every cloud of ``offset`` in some order, cloud after cloud."""
    places = torch.arange(len(order))
    wrong = torch.searchsorted(offset, order.long(), right=True) != torch.searchsorted(offset, places, right=True)
    wrong |= order.sort().values != places
    if bool(wrong.any()):
        raise ValueError(f"{name} is {order.tolist()[:8]}; it has the points of every cloud once, cloud after cloud")


def check_rising(name: str, offset: Tensor) -> None:
    """ValueError unless the counts in ``offset`` start at 0 or more and never fall."""
    if int(offset[0]) < 0 or bool((offset.diff() < 0).any()):
        raise ValueError(f"{name} is {offset.tolist()[:8]}; cumulative counts start at 0 or more and never fall")


index_of_rows = checked("index_of_rows", "(Tensor index, SymInt rows, str name) -> Tensor", torch.int32, _check_index)
offset_of_points = checked(
    "offset_of_points", "(Tensor offset, SymInt points, str name) -> Tensor", torch.int64, _check_offset_of_points
)
offset_of_samples = checked(
    "offset_of_samples", "(Tensor new_offset, Tensor offset) -> Tensor", torch.int64, _check_offset_of_samples
)
order_of_points = checked(
    "order_of_points", "(Tensor order, Tensor offset, str name) -> Tensor", torch.int64, _check_order
)
