"""Reads the weights of a checkpoint without running anything that is in it."""

import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from app.errors import BadModel
from app.pickles.archive import LFS_POINTER, Archive
from app.pickles.tensor import StorageRef, TensorRef
from app.settings import DEFAULTS, ModelSettings

from . import state_dicts
from .executable_names import check_names, remark_on
from .incomplete import reading
from .stable_file import copied_to_memory, open_stable
from .weight_names import unwrapped
from .weights_file import open_archive

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
MAX_GROWTH = 8  # bytes of all tensors in memory against bytes of the file: float16 doubles, tied weights count twice
MAX_DEPTH = 4  # of lists and dicts in a config


class Checkpoint(NamedTuple):
    """``weights`` by name and the ``ignored`` globals that the file named and that were not imported.

    ``remarks``, a sentence each, say which weights were taken if the file has several, and what the settings permit.
    """

    weights: dict[str, Tensor]
    ignored: list[str]
    remarks: list[str]


def read(path: Path, settings: ModelSettings = DEFAULTS) -> dict[str, Tensor]:
    """The state_dict in ``path``: a file of torch.save (zip or the older stream) or a ``.safetensors``.

    Accepted are ``{"state_dict": {...}, ...}`` as Pointcept writes it (the rest is dropped), the same under
    other names that trainers use, and a bare state_dict. Floating-point weights come as float32, integers as they are;
    what wrappers such as DistributedDataParallel put into names is taken off.
    Raises BadModel if the file is damaged or something else, or names what runs code and the settings do not permit
    it, and for weights that no network should be given: NaN, infinity, negative variances, complex or unknown types,
    names that collide without their prefix.
    """
    return open_checkpoint(path, settings).weights


def open_checkpoint(path: Path, settings: ModelSettings = DEFAULTS) -> Checkpoint:
    """As ``read``, with what was ignored."""
    with reading(path):
        with open_stable(path) as file:
            if path.suffix == ".safetensors":
                weights, ignored, remarks = _safetensors(file, path.name)
            else:
                weights, ignored, remarks = _torch(file, path.name, settings)
            file_bytes = os.fstat(file.fileno()).st_size
        weights = unwrapped(weights)
        _check_growth(weights, file_bytes)
        checked = {name: _checked(name, tensor) for name, tensor in weights.items()}
        return Checkpoint(checked, sorted(ignored), [*remarks, *remark_on(ignored)])


def read_config(path: Path, settings: ModelSettings) -> tuple[dict[str, Any], list[str]]:
    """The ``config`` that ``path``, a file of torch.save, holds beside its weights, and the names of these.

    The weights themselves are not read. Raises BadModel if there is no such dict of plain values.
    """
    with reading(path), open_stable(path) as file:
        pickled = open_archive(file, path.name).pickled
        check_names(pickled.ignored, settings)
        value = pickled.value
        names = list(unwrapped(state_dicts.find(value)[0]))
    config = value.get("config")
    if not isinstance(config, dict) or not _is_plain(config):
        raise BadModel(f"{path.name}: there is no config of plain values; accepted is {{'config': …, 'state_dict': …}}")
    return config, names


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether ``value`` is made of dicts by names, lists, tuples, numbers and strings, a few levels deep."""
    if isinstance(value, dict):
        return depth < MAX_DEPTH and all(isinstance(key, str) and _is_plain(value[key], depth + 1) for key in value)
    if isinstance(value, list | tuple):
        return depth < MAX_DEPTH and all(_is_plain(item, depth + 1) for item in value)
    return isinstance(value, str | int | float | None)


def _safetensors(file: BinaryIO, name: str) -> tuple[dict[str, Tensor], set[str], list[str]]:
    start = file.read(64)
    if not start or start.startswith(LFS_POINTER):
        file.seek(0)
        open_archive(file, name)  # which says so
    with copied_to_memory(file) as path:
        return load_file(path), set(), []


def _torch(file: BinaryIO, name: str, settings: ModelSettings) -> tuple[dict[str, Tensor], set[str], list[str]]:
    archive = open_archive(file, name)
    check_names(archive.pickled.ignored, settings)
    references, remarks = state_dicts.find(archive.pickled.value)
    storages: dict[str, Tensor] = {}
    weights = {each: _view(each, ref, archive, storages) for each, ref in references.items()}
    return weights, archive.pickled.ignored, remarks


def _view(name: str, reference: TensorRef, archive: Archive, storages: dict[str, Tensor]) -> Tensor:
    """The tensor that ``reference`` describes, checked against its storage; ``storages`` keeps those already read."""
    if fault := reference.fault():
        raise BadModel(f"{name:.200}: {fault}")
    storage, offset, size, stride = reference
    if storage.key not in storages:
        storages[storage.key] = _load(archive, storage)
    return storages[storage.key].as_strided(size, stride, offset)


def _load(archive: Archive, storage: StorageRef) -> Tensor:
    """The storage as a tensor (numel,) with memory of its own."""
    data, dtype = bytearray(archive.read(storage)), getattr(torch, storage.dtype)
    return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _check_growth(weights: dict[str, Tensor], file_bytes: int) -> None:
    total = sum(tensor.numel() * max(tensor.itemsize, 4) for tensor in weights.values())
    if total > MAX_GROWTH * file_bytes:
        raise BadModel(f"the tensors take {total} bytes, more than {MAX_GROWTH} times the file: they share storages")


def _checked(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype in INTEGERS:
        return tensor
    if tensor.dtype not in FLOATS:
        raise BadModel(f"{name:.200} is {tensor.dtype}; accepted are 16, 32 and 64 bit floats and integers")
    tensor = tensor.float()
    if not torch.isfinite(tensor).all():
        raise BadModel(f"{name:.200} holds NaN or infinity; was training stopped by a divergence?")
    if name.endswith("running_var") and (tensor < 0).any():
        raise BadModel(f"{name:.200} holds a negative variance")
    return tensor
