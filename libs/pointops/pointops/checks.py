"""Checks of arguments: what is wrong is said with what was given."""

import torch
from torch import Tensor

from .values import check_rising, index_of_rows, offset_of_points, offset_of_samples, order_of_points

INTEGERS = (torch.int32, torch.int64)
FLOATS = (torch.float32, torch.float16, torch.bfloat16)
COUNT_LIMIT = 2**31 - 1


def check_floats(name: str, tensor: Tensor, *shape: int | None) -> None:
    """Raises ValueError unless ``tensor`` is a contiguous float32 tensor of ``shape`` (None: any length)."""
    _check(name, tensor, (torch.float32,), shape)


def check_float32(name: str, tensor: Tensor) -> None:
    """Raises ValueError unless ``tensor`` is a contiguous float32 tensor of any shape."""
    _check(name, tensor, (torch.float32,), None)


def check_like(name: str, tensor: Tensor, other: Tensor) -> None:
    """Raises ValueError unless ``tensor`` is contiguous and has dtype, shape and device of ``other``."""
    _check(name, tensor, (other.dtype,), tuple(other.shape))
    check_devices({name: tensor, "the result": other})


def as_float32(name: str, tensor: Tensor) -> Tensor:
    """``tensor`` as float32, or a ValueError unless it is that or of a type of fewer bits."""
    _check(name, tensor, FLOATS, None)
    return tensor.float()


def check_index(name: str, index: Tensor, rows: int, *shape: int | None) -> Tensor:
    """``index`` as int32 after checking its shape and, on the CPU, that it lies in -1 … rows - 1."""
    _check(name, index, INTEGERS, shape)
    if index.numel() > COUNT_LIMIT:
        raise ValueError(f"{name} has {index.numel()} entries; at most {COUNT_LIMIT} can be worked on at once")
    return index_of_rows(index, rows, name)


def check_points(name: str, xyz: Tensor, offset: Tensor) -> Tensor:
    """``offset`` as int64 after checking both: float32 (n, 3) and counts (b,) that, on the CPU, rise to n."""
    check_floats(name, xyz, None, 3)
    if xyz.shape[0] > COUNT_LIMIT:
        raise ValueError(f"{name} has {xyz.shape[0]} points; at most {COUNT_LIMIT} can be worked on at once")
    _check_counts(f"offset of {name}", offset)
    check_devices({name: xyz, f"its offset of {len(offset)}": offset})
    return offset_of_points(offset, xyz.shape[0], name)


def check_samples(xyz: Tensor, offset: Tensor, new_offset: Tensor) -> Tensor:
    """``new_offset`` as int64 after checking that its counts (b,) can be those of samples of the clouds."""
    _check_counts("new_offset", new_offset)
    check_devices({"xyz": xyz, "new_offset": new_offset})
    check_same_clouds(offset, new_offset)
    return offset_of_samples(new_offset, offset)


def check_offset(offset: Tensor) -> None:
    """Raises ValueError unless ``offset`` holds one cumulative count or more, and on the CPU also if they fall."""
    _check_counts("offset", offset)
    if _values_are_known(offset):
        check_rising("offset", offset)


def check_batch(name: str, batch: Tensor) -> None:
    """Raises ValueError unless ``batch`` holds integers (n,), and on the CPU also if one is negative."""
    _check(name, batch, INTEGERS, (None,))
    if _values_are_known(batch) and bool((batch < 0).any()):
        raise ValueError(f"{name} holds {int(batch.min())}; clouds are numbered from 0")


def check_order(name: str, order: Tensor, offset: Tensor, points: int) -> Tensor:
    """``order`` as int64 after checking that it is (n,) and, on the CPU, has the points of every cloud in its place."""
    _check(name, order, INTEGERS, (points,))
    check_devices({name: order, "offset": offset})
    return order_of_points(order, offset, name)


def check_same_clouds(offset: Tensor, new_offset: Tensor) -> None:
    """Raises ValueError if offsets count different numbers of clouds."""
    if len(offset) != len(new_offset):
        raise ValueError(f"offset is of {len(offset)} clouds and new_offset of {len(new_offset)}")


def check_devices(tensors: dict[str, Tensor]) -> None:
    """Raises ValueError if tensors, by name, lie on different devices."""
    devices = {name: str(tensor.device) for name, tensor in tensors.items()}
    if len(set(devices.values())) > 1:
        raise ValueError("the tensors are not on one device: " + ", ".join(f"{n} on {d}" for n, d in devices.items()))


def _values_are_known(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def _check_counts(name: str, offset: Tensor) -> None:
    _check(name, offset, INTEGERS, (None,))
    if len(offset) == 0:
        raise ValueError(f"{name} is empty; it holds the cumulative count of points of every cloud")


def _check(name: str, tensor: Tensor, dtypes: tuple[torch.dtype, ...], shape: tuple[int | None, ...] | None) -> None:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} is a {type(tensor).__name__}, not a tensor")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} is on {tensor.device}; pointops works on the CPU and on CUDA")
    if tensor.dtype not in dtypes:
        raise ValueError(f"{name} is {tensor.dtype}, not {' or '.join(str(dtype) for dtype in dtypes)}")
    if shape is not None and not _has_shape(tensor, shape):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not ({wanted})")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} of shape {tuple(tensor.shape)} is not contiguous (strides {tensor.stride()})")


def _has_shape(tensor: Tensor, shape: tuple[int | None, ...]) -> bool:
    return tensor.dim() == len(shape) and all(
        want is None or want == have for want, have in zip(shape, tensor.shape, strict=True)
    )
