"""Clouds beside each other on a CUDA device, on streams of their own: answered as each alone, to the bit."""

import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.engine.company import Company
from app.engine.heartbeat import Heartbeat
from app.engine.model_set import ModelSet
from app.engine.packed import pack_cloud
from app.engine.protocol import Batch, Segment, Segmented
from app.engine.runner import Runner
from app.options import Options
from app.settings import ModelSettings
from tests.gpu.cloud_samples import hills

pytestmark = pytest.mark.gpu
FOLDER = Path(__file__).parents[2] / "app/bundled/aerial-semseg-spunet-v1m1"
IN_FLIGHT = 3
SIZES = [300, 250_000, 1000, 40_000, 2000, 90_000, 5000, 120_000, 600, 30_000, 70_000, 3000, 20_000, 160_000, 8000, 800]


@pytest.fixture(scope="module")
def models() -> ModelSet:
    models = ModelSet(ModelSettings(models=str(FOLDER)), "cuda")
    models.load_all()
    return models


def answers(models: ModelSet, num_beside: int, mode: str) -> list[bytes]:
    """The answers to the clouds of SIZES, so many of them in flight at a time, as they go to the parent."""
    heartbeat, fd = Heartbeat.create()
    os.close(fd)
    company = Company(num_beside)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in range(len(SIZES)):
        waiting.put(place)
    found: dict[int, bytes] = {}

    def serve(lane: int) -> None:
        runner = Runner(models, heartbeat.lanes[lane], company, "cuda", 100_000)
        with torch.cuda.stream(torch.cuda.Stream()):
            while True:
                try:
                    place = waiting.get_nowait()
                except queue.Empty:
                    return
                options = Options(model=FOLDER.name, fields=("probabilities",), mode=mode, max_passes=2)
                with pack_cloud(hills(SIZES[place], place)) as packed:
                    job = Segment(str(place), options, packed.layout, packed.meta, time.time() + 300)
                    ((message, fds),) = runner.run(Batch([job]), [packed.fd])
                assert isinstance(message, Segmented), message
                found[place] = os.pread(fds[0], 1 << 30, 0)
                os.close(fds[0])

    with ThreadPoolExecutor(num_beside) as threads:
        list(threads.map(serve, range(num_beside)))
    return [found[place] for place in range(len(SIZES))]


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_answers_are_those_of_each_alone(models, mode):
    alone = answers(models, 1, mode)
    for _ in range(3):
        assert answers(models, IN_FLIGHT, mode) == alone
