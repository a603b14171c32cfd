"""What benchmarks say of a GPU, by the records of torch's profiler."""

import pytest
import torch

from benchmarks.device_records import by_operator, device_records

pytestmark = pytest.mark.gpu


def work() -> None:
    numbers = torch.arange(10_000_000, device="cuda", dtype=torch.float32)
    assert (numbers + 1).max().item() == 10_000_000


def test_kernels_downloads_and_waits_are_counted():
    work()
    found = device_records(work)
    assert found.busy_ms > 0
    assert found.num_kernels >= 3  # arange, add, max
    assert found.num_downloads == 1
    assert found.num_waits >= 1


def test_operators_have_the_time_of_their_kernels():
    spent_ms = {name: ms for name, _, ms in by_operator(work, on_gpu=True)}
    assert spent_ms["aten::add"] > 0
    assert spent_ms["aten::arange"] > 0
