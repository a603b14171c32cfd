"""Scenes as Pointcept stored them until 1.5: torch.save or pickle of a dict of arrays; nothing in it is run."""

import io
import pickle
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from app.clouds.checks import check_num_points
from app.clouds.cloud import Cloud
from app.clouds.columns import Wanted
from app.clouds.memory_file import MemoryFile
from app.clouds.named_arrays import COORDINATES, Stored, cloud_from_arrays, needs_of
from app.clouds.needs import Keep, Needs
from app.clouds.npy import cloud_from_array
from app.clouds.unsupported import CHECKPOINT
from app.errors import BadCloud
from app.pickles.archive import Archive, DamagedError, archive_in
from app.pickles.ndarray import Array
from app.pickles.tensor import TensorRef
from app.pickles.unpickle import unpickle
from app.pickles.weights import WEIGHTS

MAX_ARRAYS = 64
MAX_GROWTH = 4  # bytes of all arrays against those of the file; bfloat16 doubles
EXPECTED = "expected a dict of arrays such as {'coord': (N, 3), 'color': (N, 3)}; NPZ and NPY are read too"
OF_CHECKPOINTS = {*WEIGHTS, "optimizer"}


def read(
    data: memoryview,
    columns: Wanted | None = None,
    max_points: int | None = None,
    keep: Collection[str] | None = None,
) -> Cloud:
    """The arrays and tensors of the dict by name, read as those of a zip (``named_arrays.py``); a single array as NPY.

    Raises:
        UnsupportedFormat: the weights of a network.
        BadCloud: damaged, or not a dict of arrays.
    """
    try:
        value, archive = opened(data)
        if isinstance(value, dict):
            return _from_dict(value, archive, columns, max_points, keep, len(data))
        array = stored(value, archive)
        if array is None or not array.is_table or len(array.shape) != 2 or array.shape[1] < 3:
            raise BadCloud(f"The file holds {_kind(value, array)}; {EXPECTED}.")
        check_num_points(array.shape[0], max_points)
        return cloud_from_array("pth", array.load(), columns)
    except (DamagedError, UnicodeError) as error:
        raise BadCloud(f"The file of torch.save is damaged: {error}.") from None
    except pickle.UnpicklingError as error:
        raise BadCloud(f"The pickle is damaged, or of a kind that is not read ({error!s:.200}); {EXPECTED}.") from None


def opened(data: memoryview) -> tuple[Any, Archive | None]:
    """The content of the file, and the places of its tensors' bytes."""
    archive = archive_in(io.BufferedReader(MemoryFile(data)), len(data))
    return (archive.pickled if archive else unpickle(io.BytesIO(data))).value, archive


def _from_dict(
    value: Mapping[Any, Any],
    archive: Archive | None,
    columns: Wanted | None,
    max_points: int | None,
    keep: Collection[str] | None,
    num_bytes: int,
) -> Cloud:
    found = {name: stored(item, archive) for name, item in value.items() if isinstance(name, str)}
    arrays = {name: array for name, array in found.items() if array is not None}
    given = {name.lower() for name in arrays}
    tensors = [item for item in value.values() if isinstance(item, TensorRef)]
    is_weights = not OF_CHECKPOINTS.isdisjoint(value) or (len(tensors) == len(value) > 0)
    if not columns and given.isdisjoint(COORDINATES) and is_weights:
        raise CHECKPOINT.error()
    if not arrays:
        keys = ", ".join(name[:40] for name in list(found)[:8]) or "nothing"
        raise BadCloud(f"The file holds no arrays of numbers, but {keys}; {EXPECTED}.")
    if len(arrays) > MAX_ARRAYS:
        raise BadCloud(f"The file holds {len(arrays)} arrays; at most {MAX_ARRAYS} are read.")
    if sum(array.num_bytes for array in arrays.values()) > MAX_GROWTH * num_bytes:
        raise BadCloud(f"The arrays take more than {MAX_GROWTH} times the file: they share their numbers.")
    return cloud_from_arrays("pth", arrays, columns, max_points, "the file", keep)


def _kind(value: Any, array: Stored | None) -> str:
    if array is not None:
        return f"an array {array.dtype} {array.shape}"
    return (
        f"a {type(value).__name__}" if isinstance(value, list | tuple | str | int | float) else "objects of a program"
    )


def stored(value: Any, archive: Archive | None) -> Stored | None:
    """``value`` as an array of numbers; None if it is none."""
    if isinstance(value, Array):
        described = value.described()
        return None if described is None else Stored(*described, value.numpy)
    if isinstance(value, TensorRef) and archive is not None and value.fault() is None:
        name = value.storage.dtype
        dtype = np.dtype(np.float32 if name == "bfloat16" else name)
        return Stored(value.size, dtype, partial(_tensor, value, archive))
    return None


def _tensor(reference: TensorRef, archive: Archive) -> np.ndarray:
    storage = reference.storage
    data = archive.read(storage)
    if storage.dtype == "bfloat16":  # the upper half of a float32
        flat = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(data, np.dtype(storage.dtype).newbyteorder("<"))
    strides = [step * flat.itemsize for step in reference.stride]
    return np.lib.stride_tricks.as_strided(flat[reference.offset :], reference.size, strides)


def reading_needs(data: memoryview, wanted: Wanted | None, keep: Keep) -> Needs:
    """By what the pickle says of the arrays."""
    value, archive = opened(data)
    given = value if isinstance(value, dict) else {"": value}
    arrays = {name: stored(item, archive) for name, item in given.items() if isinstance(name, str)}
    needs = needs_of({name: array for name, array in arrays.items() if array is not None}, wanted, keep)
    return replace(needs, work_bytes=needs.work_bytes + 2 * len(data))
