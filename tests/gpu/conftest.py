"""Tests that need a CUDA device; `make gpu-test` runs them, everything else leaves them out."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def device() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device here")
    return torch.device("cuda", torch.cuda.current_device())
