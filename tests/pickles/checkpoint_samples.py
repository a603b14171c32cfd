"""Builders of checkpoints that torch.save would not write."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch


class Storage:
    """Pickled as a reference to record ``key`` of ``numel`` elements."""

    def __init__(self, numel, key="0", kind=torch.FloatStorage):
        self.pid = ("storage", kind, key, "cpu", numel)


class Tensor:
    """Pickled as a view of a storage, whatever its size, stride and offset are."""

    def __init__(self, storage, size, stride, offset=0):
        self.arguments = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


class Calls:
    """Pickled as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.pid if isinstance(value, Storage) else None


def pickled(value) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, 2).dump(value)
    return stream.getvalue()


def write_zip(path: Path, data_pkl: bytes, compression=zipfile.ZIP_STORED, **records: bytes) -> Path:
    """A checkpoint of ``data_pkl`` and the storage ``records`` data_<key>, or others by name."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for name, data in records.items():
            archive.writestr(f"archive/{name.replace('data_', 'data/')}", data)
    return path


def write_state(path: Path, state: dict, data: bytes = b"", **records: bytes) -> Path:
    """A checkpoint whose state_dict is ``state`` and whose storage 0 is ``data``."""
    return write_zip(path, pickled({"state_dict": state}), data_0=data, **records)
