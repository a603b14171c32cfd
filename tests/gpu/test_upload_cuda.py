"""Arrays on their way to a CUDA device."""

import numpy as np
import pytest
import torch

from app.pipeline import upload as module
from app.pipeline.upload import upload

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("shape", [(0, 3), (1,), (5, 3), (1000, 7)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_arrays_arrive_as_they_are_in_whatever_pieces(device, monkeypatch, shape, dtype):
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    for piece_bytes in (1, 1000, module.PIECE_BYTES):
        monkeypatch.setattr(module, "PIECE_BYTES", piece_bytes)
        np.testing.assert_array_equal(upload(values, device).cpu().numpy(), values)
    np.testing.assert_array_equal(upload(values[::2], device).cpu().numpy(), values[::2])


def test_an_array_may_be_written_to_once_it_is_uploaded(device):
    values = np.arange(1 << 20, dtype=np.float32)
    with torch.cuda.stream(torch.cuda.Stream()):
        there = upload(values, device)
        values[:] = -1
        assert torch.equal(there.cpu(), torch.arange(1 << 20, dtype=torch.float32))
