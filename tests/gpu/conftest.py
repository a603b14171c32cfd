"""Tests that need a CUDA device; `make gpu-test` runs them, everything else leaves them out."""

import os
from collections import defaultdict

import pytest
import torch


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With GPU_TEST_CASES so many cases of each test, from the first to the last; for tools that slow a device down."""
    most = int(os.environ.get("GPU_TEST_CASES", "0"))
    if not most:
        return
    cases = defaultdict(list)
    for item in items:
        cases[item.path, getattr(item, "originalname", item.name)].append(item)
    chosen = {each[round(i * (len(each) - 1) / max(1, most - 1))] for each in cases.values() for i in range(most)}
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


@pytest.fixture(scope="session", autouse=True)
def device() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device here")
    return torch.device("cuda", torch.cuda.current_device())
