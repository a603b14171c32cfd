"""Arrays on their way to a CUDA device and back."""

import numpy as np
import pytest
import torch

from app.pipeline import download as downloading
from app.pipeline import upload as uploading
from app.pipeline.download import download
from app.pipeline.upload import upload

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("shape", [(0, 3), (1,), (5, 3), (1000, 7)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_arrays_arrive_as_they_are_in_whatever_pieces(device, monkeypatch, shape, dtype):
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    for piece_bytes in (1, 1000, uploading.PIECE_BYTES):
        monkeypatch.setattr(uploading, "PIECE_BYTES", piece_bytes)
        np.testing.assert_array_equal(upload(values, device).cpu().numpy(), values)
    np.testing.assert_array_equal(upload(values[::2], device).cpu().numpy(), values[::2])


def test_an_array_may_be_written_to_once_it_is_uploaded(device):
    values = np.arange(1 << 20, dtype=np.float32)
    with torch.cuda.stream(torch.cuda.Stream()):
        there = upload(values, device)
        values[:] = -1
        assert torch.equal(there.cpu(), torch.arange(1 << 20, dtype=torch.float32))


@pytest.mark.parametrize("piece_bytes", [3000, downloading.PIECE_BYTES])
def test_columns_come_back_as_they_are_in_whatever_pieces(device, monkeypatch, piece_bytes):
    monkeypatch.setattr(downloading, "PIECE_BYTES", piece_bytes)
    columns = {
        "labels": torch.arange(1000, dtype=torch.int32),
        "features": torch.arange(7000, dtype=torch.float32).reshape(1000, 7),
        "wide": torch.arange(3000, dtype=torch.float32).reshape(2, 1500),  # a row is more than a piece
        "none": torch.empty(0, 4),
    }
    with torch.cuda.stream(torch.cuda.Stream()):
        found = download({name: column.to(device) for name, column in columns.items()})
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column.numpy())
