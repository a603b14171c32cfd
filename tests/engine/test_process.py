import shutil
import time

import numpy as np
import pytest
import torch
from engine_samples import EXPERIMENT

from app.clouds.cloud import Cloud
from app.diagnostics.machine import usable_cores
from app.engine.channel import close_all
from app.engine.packed import Packed, pack_cloud, unpack_segmentation
from app.engine.process import Engine, choose_device
from app.engine.protocol import Failure, Segment, Segmented, SegmentOptions
from app.errors import BadModel


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A good model, one of the same name, and one without weights."""
    root = tmp_path_factory.mktemp("models")
    for name in ("a/good", "b/good", "c/empty"):
        (root / name).mkdir(parents=True)
        shutil.copy(EXPERIMENT / "config.py", root / name)
    for name in ("a/good", "b/good"):
        shutil.copytree(EXPERIMENT / "model", root / name / "model")
    return Engine.load(str(root), "cpu", 1, 400_000)


def answer_to(engine: Engine, cloud: Cloud, deadline_unix_s: float):
    with pack_cloud(cloud) as packed:
        options = SegmentOptions("good", fields=("entropy",))
        job = Segment("job", options, packed.layout, packed.meta, deadline_unix_s)
        return engine.answer(job, packed.fd)


def test_models_that_load_are_served_and_the_others_say_why(engine):
    good, twin, empty = engine.ready.models
    assert (good.name, good.served, good.num_classes) == ("good", True, 20)
    assert good.num_parameters > 0
    assert (twin.served, empty.served) == (False, False)
    assert "another model" in twin.reason
    assert "no weights" in empty.reason
    assert list(engine.segmenters) == ["good"]


def test_job_is_answered_with_every_point(engine):
    cloud = Cloud(np.random.default_rng(0).uniform(0, 1, (200, 3)), "npy", warnings=["from the reader"])
    message, fds = answer_to(engine, cloud, time.time() + 60)
    assert isinstance(message, Segmented)
    segmentation = unpack_segmentation(Packed(fds[0], message.layout, message.meta))
    close_all(fds)
    assert segmentation.labels.shape == segmentation.entropy.shape == (200,)
    assert "from the reader" in segmentation.warnings


def test_job_past_its_deadline_is_not_run(engine):
    message, fds = answer_to(engine, Cloud(np.zeros((1, 3)), "npy"), time.time() - 1)
    assert (message.status, fds) == (504, [])
    assert isinstance(message, Failure)


class Hungry:
    """A segmenter that asks for more memory than there is."""

    def segment(self, cloud, fields, seed):
        np.empty(1 << 50)


def test_cloud_that_needs_more_memory_than_there_is_ends_in_not_ready(engine):
    hungry = Engine({"good": Hungry()}, engine.ready)
    message, fds = answer_to(hungry, Cloud(np.zeros((3, 3)), "npy"), time.time() + 60)
    assert (message.status, fds) == (503, [])
    assert "POINTSERVE_TILE_VOXELS" in message.detail


def test_all_cores_are_those_that_this_process_may_use():
    threads = torch.get_num_threads()
    try:
        assert Engine.load(str(EXPERIMENT), "cpu", 0, 400_000).ready.threads == usable_cores()
    finally:
        torch.set_num_threads(threads)


def test_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(BadModel, match="POINTSERVE_DEVICE"):
        choose_device("cuda")
