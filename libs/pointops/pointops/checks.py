"""Checks of arguments: what is wrong is said with what was given."""

import torch
from torch import Tensor

INTEGERS = (torch.int32, torch.int64)
COUNT_LIMIT = 2**31 - 1


def check_floats(name: str, tensor: Tensor, *shape: int | None) -> None:
    """Raises ValueError unless ``tensor`` is a contiguous float32 tensor of ``shape`` (None: any length)."""
    _check(name, tensor, (torch.float32,), shape)


def check_index(name: str, index: Tensor, rows: int, *shape: int | None) -> Tensor:
    """``index`` as int32 after checking its shape and, on the CPU, that it lies in -1 … rows - 1."""
    _check(name, index, INTEGERS, shape)
    if index.numel() > COUNT_LIMIT:
        raise ValueError(f"{name} has {index.numel()} entries; at most {COUNT_LIMIT} can be worked on at once")
    if index.device.type == "cpu" and index.numel():
        low, high = (int(value) for value in index.aminmax())
        if low < -1 or high >= rows:
            raise ValueError(f"{name} holds {low} … {high}; indices of {rows} rows lie in 0 … {rows - 1}, -1 for none")
    return index.to(torch.int32)


def check_points(name: str, xyz: Tensor, offset: Tensor) -> Tensor:
    """``offset`` as int64 after checking both: float32 (n, 3) and cumulative counts (b,) up to n.

    The values of an offset are only looked at on the CPU: on a GPU that would wait for the device.
    """
    check_floats(name, xyz, None, 3)
    if xyz.shape[0] > COUNT_LIMIT:
        raise ValueError(f"{name} has {xyz.shape[0]} points; at most {COUNT_LIMIT} can be worked on at once")
    check_offset(f"offset of {name}", offset)
    check_devices({name: xyz, f"its offset of {len(offset)}": offset})
    if offset.device.type == "cpu" and int(offset[-1]) != xyz.shape[0]:
        raise ValueError(f"offset of {name} ends with {int(offset[-1])}; {name} has {xyz.shape[0]} points")
    return offset.to(torch.int64)


def check_offset(name: str, offset: Tensor) -> None:
    """Raises ValueError unless ``offset`` holds one cumulative count or more, and on the CPU also where they fall."""
    _check(name, offset, INTEGERS, (None,))
    if len(offset) == 0:
        raise ValueError(f"{name} is empty; it holds the cumulative count of points of every cloud")
    if offset.device.type == "cpu" and (int(offset[0]) < 0 or bool((offset.diff() < 0).any())):
        raise ValueError(f"{name} is {offset.tolist()[:8]}; cumulative counts start at 0 or more and never fall")


def check_batch(name: str, batch: Tensor) -> None:
    """Raises ValueError unless ``batch`` holds integers (n,), and on the CPU also where one is negative."""
    _check(name, batch, INTEGERS, (None,))
    if batch.device.type == "cpu" and bool((batch < 0).any()):
        raise ValueError(f"{name} holds {int(batch.min())}; clouds are numbered from 0")


def check_same_clouds(offset: Tensor, new_offset: Tensor) -> None:
    """Raises ValueError where offsets count different numbers of clouds."""
    if len(offset) != len(new_offset):
        raise ValueError(f"offset is of {len(offset)} clouds and new_offset of {len(new_offset)}")


def check_devices(tensors: dict[str, Tensor]) -> None:
    """Raises ValueError where tensors, by name, lie on different devices."""
    devices = {name: str(tensor.device) for name, tensor in tensors.items()}
    if len(set(devices.values())) > 1:
        raise ValueError("the tensors are not on one device: " + ", ".join(f"{n} on {d}" for n, d in devices.items()))


def _check(name: str, tensor: Tensor, dtypes: tuple[torch.dtype, ...], shape: tuple[int | None, ...]) -> None:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} is a {type(tensor).__name__}, not a tensor")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} is on {tensor.device}; pointops works on the CPU and on CUDA")
    if tensor.dtype not in dtypes:
        raise ValueError(f"{name} is {tensor.dtype}, not {' or '.join(str(dtype) for dtype in dtypes)}")
    wrong = [want for want, have in zip(shape, tensor.shape, strict=False) if want not in (None, have)]
    if tensor.dim() != len(shape) or wrong:
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not ({wanted})")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} of shape {tuple(tensor.shape)} is not contiguous (strides {tensor.stride()})")
