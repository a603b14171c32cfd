import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from app.clouds.cloud import Cloud
from app.clouds.fields import FIELDS, INSTANCES, REFINED
from app.engine.channel import Channel, close_all
from app.engine.company import Company
from app.engine.device_memory import is_device_lost, memory
from app.engine.heartbeat import Heartbeat, Lane
from app.engine.model_set import ModelSet
from app.engine.packed import Packed, pack_cloud, pack_segmentation, unpack_segmentation
from app.engine.process import choose_device
from app.engine.protocol import Batch, Configure, Failure, Segment, Segmented
from app.engine.runner import DeviceLost, Runner
from app.errors import BadModel, NotFound, Problem
from app.options import Options
from app.pipeline.out_of_memory import is_out_of_memory
from app.settings import EngineSettings, ModelSettings
from tests.engine.engine_samples import EXPERIMENT


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A good model, one of the same name, and one without weights."""
    root = tmp_path_factory.mktemp("models")
    for name in ("a/good", "b/good", "c/empty"):
        (root / name).mkdir(parents=True)
        shutil.copy(EXPERIMENT / "config.py", root / name)
    for name in ("a/good", "b/good"):
        shutil.copytree(EXPERIMENT / "model", root / name / "model")
    return root


@pytest.fixture(scope="module")
def models(root):
    models = ModelSet(ModelSettings(models=str(root)), "cpu")
    models.load_all()
    return models


@pytest.fixture
def lane():
    heartbeat, fd = Heartbeat.create()
    os.close(fd)
    return heartbeat.lanes[0]


def answer_to(
    models: ModelSet,
    lane: Lane,
    clouds: list[Cloud],
    deadline_unix_s: float,
    company: Company | None = None,
    **options: object,
):
    """The messages and descriptors in the order of the clouds."""
    packed = [pack_cloud(cloud) for cloud in clouds]
    options = Options(**{"model": "good", "fields": ("entropy",), **options})
    jobs = [Segment(str(i), options, one.layout, one.meta, deadline_unix_s) for i, one in enumerate(packed)]
    try:
        answers = list(
            Runner(models, lane, company or Company(1), "cpu", 100_000).run(Batch(jobs), [one.fd for one in packed])
        )
        return sorted(answers, key=lambda answer: int(answer[0].job_id))
    finally:
        for one in packed:
            one.close()


def cloud_of(num_points: int) -> Cloud:
    return Cloud(np.random.default_rng(num_points).uniform(0, 3, (num_points, 3)), "npy", warnings=["from the reader"])


def test_models_that_load_are_served_and_the_others_say_why(models):
    good, twin, empty = models.cards
    assert (good.name, good.served, good.num_classes) == ("good", True, 20)
    assert good.num_parameters > 0
    assert good.memory_bytes >= 4 * good.num_parameters
    assert good.bytes_per_voxel > 0
    assert good.fields == [name for name, field in FIELDS.items() if field.source not in (INSTANCES, REFINED)]
    assert good.shares_passes
    assert (good.backend, good.precision) == ("native", "fp32")
    assert (twin.served, empty.served) == (False, False)
    assert "another model" in twin.reason
    assert "no weights" in empty.reason
    assert list(models.segmenters) == ["good"]


def test_job_is_answered_with_every_point(models, lane):
    ((message, fds),) = answer_to(models, lane, [cloud_of(200)], time.time() + 60)
    assert isinstance(message, Segmented)
    segmentation = unpack_segmentation(Packed(fds[0], message.layout, message.meta))
    close_all(fds)
    assert segmentation.labels.shape == segmentation.fields["entropy"].shape == (200,)
    assert "from the reader" in segmentation.meta.warnings
    assert (message.num_voxels, message.batch_size) == (200, 1)


def test_a_cloud_with_context_is_answered_with_the_other_points(models, lane):
    cloud = cloud_of(200)
    answers = answer_to(models, lane, [replace(cloud, num_context=150), cloud], time.time() + 60)
    context, whole = (unpack_segmentation(Packed(fds[0], said.layout, said.meta)) for said, fds in answers)
    for message, fds in answers:
        close_all(fds)
        assert message.num_voxels == 200
    np.testing.assert_array_equal(context.labels, whole.labels[:50])
    np.testing.assert_array_equal(context.fields["entropy"], whole.fields["entropy"][:50])


def test_bytes_of_an_answer_are_the_same_alone_and_in_a_batch(models, lane):
    clouds = [cloud_of(num_points) for num_points in (2000, 300, 1, 999, 20, 5000)]
    fields = ("confidence", "entropy", "probabilities")

    def content(message: Segmented, fds: list[int]) -> bytes:
        data = os.pread(fds[0], 1 << 30, 0)
        close_all(fds)
        return data

    together = answer_to(models, lane, clouds, time.time() + 60, fields=fields)
    assert [message.batch_size for message, _ in together] == [4, 4, 1, 4, 1, 4]
    alone = [answer_to(models, lane, [cloud], time.time() + 60, fields=fields)[0] for cloud in clouds]
    for one, other in zip(together, alone, strict=True):
        assert content(*one) == content(*other)


def test_job_past_its_deadline_or_cancelled_is_not_run(models, lane):
    ((message, fds),) = answer_to(models, lane, [cloud_of(1)], time.time() - 1)
    assert (message.kind, fds) == ("DeadlineExceeded", [])
    lane.cancel(1)
    (first, second) = answer_to(models, lane, [cloud_of(300), cloud_of(301)], time.time() + 60)
    close_all(first[1])
    assert isinstance(first[0], Segmented)
    assert (second[0].kind, second[1]) == ("ClientGone", [])


def test_one_bad_cloud_costs_its_batch_nothing(models, lane):
    bad = Cloud(np.array([[0, 0, 0], [0, 0, 1e9]]), "npy")
    good, broken = answer_to(models, lane, [cloud_of(300), bad], time.time() + 60)
    close_all(good[1])
    assert isinstance(good[0], Segmented)
    assert isinstance(broken[0], Failure)
    assert broken[0].kind == "BadCloud"


def test_error_of_the_device_ends_the_process_and_no_other_error_does(models, lane, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError(what)

    monkeypatch.setattr(models.segmenters["good"].inference, "logits", fail)
    what = "CUDA error: device-side assert triggered"
    with pytest.raises(DeviceLost, match="device-side assert"):
        answer_to(models, lane, [cloud_of(300)], time.time() + 60)
    what = "anything else"
    ((message, _),) = answer_to(models, lane, [cloud_of(300)], time.time() + 60)
    assert message.kind == "Problem"


def test_memory_that_torch_cannot_have_is_told_from_other_errors():
    def error_of(act) -> Exception:
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            act()
        return caught.value

    missing = [error_of(lambda: torch.empty(1 << 50)), error_of(lambda: np.empty(1 << 50))]
    other = error_of(lambda: torch.empty(2) @ torch.empty(3))
    assert all(map(is_out_of_memory, missing))
    assert not any(map(is_device_lost, [*missing, other]))
    assert not is_out_of_memory(other)


WANTS_OF_MEMORY = [
    MemoryError(),
    RuntimeError("std::bad_alloc"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
    getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", WANTS_OF_MEMORY, ids=str)
@pytest.mark.parametrize("mode", ["fast", "exact", "vote"])
def test_want_of_memory_costs_the_cloud_that_has_it_and_not_the_process(models, lane, monkeypatch, error, mode):
    inference = models.segmenters["good"].inference
    logits = inference.logits

    def lacking(feat, plan, run):
        if len(feat) > 1000:
            raise error
        return logits(feat, plan, run)

    monkeypatch.setattr(inference, "logits", lacking)
    fields = ("entropy",) if mode == "fast" else ()
    clouds = [cloud_of(300), cloud_of(5000)]
    small, large = answer_to(models, lane, clouds, time.time() + 60, mode=mode, max_passes=1, fields=fields)
    close_all(small[1])
    assert isinstance(small[0], Segmented)
    assert (large[0].kind, large[1]) == ("NotReady", [])
    assert "memory" in large[0].detail


def test_cloud_that_lacks_memory_beside_another_goes_again_alone(models, lane, monkeypatch):
    inference, company = models.segmenters["good"].inference, Company(2)
    logits, is_beside, has_failed = inference.logits, threading.Event(), threading.Event()
    beside_large = []

    def lacking(feat, plan, run):
        if len(feat) < 1000:
            is_beside.set()
            assert has_failed.wait(30)
        else:
            assert is_beside.wait(30)
            beside_large.append(company._num_running - 1)
            if not has_failed.is_set():
                has_failed.set()
                raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(feat, plan, run)

    expected = answer_to(models, lane, [cloud_of(5000)], time.time() + 60)
    monkeypatch.setattr(inference, "logits", lacking)
    with ThreadPoolExecutor(2) as threads:
        small, large = (
            threads.submit(answer_to, models, lane, [cloud_of(num_points)], time.time() + 60, company)
            for num_points in (300, 5000)
        )
    ((small, small_fds),), ((large, large_fds),) = small.result(), large.result()
    assert isinstance(small, Segmented)
    assert beside_large == [1, 0]
    assert large.meta.warnings == expected[0][0].meta.warnings  # of no smaller tiles
    assert os.pread(large_fds[0], 1 << 30, 0) == os.pread(expected[0][1][0], 1 << 30, 0)
    close_all([*small_fds, *large_fds, *expected[0][1]])


def test_answer_for_which_there_is_no_memory_costs_that_cloud_alone(models, lane, monkeypatch):
    def lacking(segmentation):
        if len(segmentation.labels) > 1000:
            raise MemoryError
        return pack_segmentation(segmentation)

    monkeypatch.setattr("app.engine.runner.pack_segmentation", lacking)
    small, large = answer_to(models, lane, [cloud_of(300), cloud_of(5000)], time.time() + 60)
    close_all(small[1])
    assert isinstance(small[0], Segmented)
    assert large[0].kind == "NotReady"


def test_model_that_was_not_loaded_is_not_ready_and_one_that_was_unloaded_is_not_there(models, lane):
    ((absent, _),) = answer_to(models, lane, [cloud_of(300)], time.time() + 60, model="empty")
    assert absent.kind == "NotReady"
    assert absent.retry_after_s > 0
    assert "no weights" in absent.detail
    ((unknown, _),) = answer_to(models, lane, [cloud_of(300)], time.time() + 60, model="unknown")
    assert unknown.kind == "NotFound"


def test_unloaded_model_gives_its_memory_back_and_can_be_loaded_again(tmp_path):
    folder = tmp_path / "wide"
    (folder / "model").mkdir(parents=True)
    config = (EXPERIMENT / "config.py").read_text()
    config = config.replace("channels=(8, 8, 12, 16, 16, 12, 8, 8)", "channels=(8, 8, 12, 192, 192, 12, 8, 8)")
    (folder / "config.py").write_text(config)
    models = ModelSet(ModelSettings(models=str(tmp_path)), "cpu")
    _write_weights(folder)
    models.load_all()
    (card,) = models.cards
    assert card.memory_bytes > 10 << 20
    before = memory("cpu", models.memory_bytes)
    models.unload("wide")
    after = memory("cpu", models.memory_bytes)
    assert before.used - after.used > 0.8 * card.memory_bytes
    assert (before.models, after.models) == (card.memory_bytes, 0)
    assert "was unloaded" in models.cards[0].reason
    with pytest.raises(NotFound):
        models.unload("wide")
    models.load("wide")
    assert models.cards[0].served
    (folder / "config.py").write_text("import os")
    with pytest.raises(BadModel, match="wide"):
        models.load("wide")
    assert models.cards[0].served


def _write_weights(folder) -> None:
    from app.networks import registry
    from app.zoo.config import evaluate

    network = registry.build(evaluate(folder / "config.py")["model"])
    torch.save({"state_dict": network.state_dict()}, folder / "model/model_best.pth")


@pytest.mark.parametrize("path", [EXPERIMENT, "/nothing/here"])
def test_process_whose_parent_stops_while_its_models_load_ends_quietly(path):
    ours, theirs = socket.socketpair()
    _, heartbeat_fd = Heartbeat.create()
    command = [sys.executable, "-m", "app.engine.process", f"--fd={theirs.fileno()}", f"--heartbeat-fd={heartbeat_fd}"]
    settings = EngineSettings(models=str(path), device="cpu", threads=1, log_level="warning")
    channel = Channel(ours)
    channel.send(Configure(settings))
    channel.close()
    with theirs:
        ended = subprocess.run(command, pass_fds=(theirs.fileno(), heartbeat_fd), stderr=subprocess.PIPE, text=True)
    os.close(heartbeat_fd)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr


def test_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(BadModel, match="POINTSERVE_DEVICE"):
        choose_device("cuda")


def test_a_model_whose_weights_name_what_runs_code_says_so_in_its_card_and_in_the_log(tmp_path, caplog):
    folder = tmp_path / "hostile"
    shutil.copytree(EXPERIMENT, folder)
    path = folder / "model" / "model_best.pth"
    torch.save(torch.load(path, weights_only=False) | {"hook": print, "then": os.system}, path)
    models = ModelSet(ModelSettings(models=str(tmp_path)), "cpu")
    models.load_all()
    (card,) = models.cards
    assert not card.served
    assert "posix.system" in card.reason
    assert "posix.system" in caplog.text
    with pytest.raises(Problem, match=r"posix\.system"):
        models.load("hostile")
