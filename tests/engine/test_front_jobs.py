"""Two processes' ends of a conversation about clouds, in one process, with a scheduler and no engine."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import numpy as np
import pytest

from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from app.engine.admission import Admission
from app.engine.channel import Channel, ChannelError
from app.engine.counts import Counts, Each
from app.engine.deadline import Deadline
from app.engine.front_jobs import FrontJobs
from app.engine.job import SegmentedCloud
from app.engine.job_queue import BatchLimits
from app.engine.owner import Owner, RemoteScheduler
from app.engine.packed import pack_cloud, pack_segmentation, unpack_segmentation
from app.engine.quarantine import STRIKES
from app.engine.scheduler import Scheduler
from app.engine.web_protocol import Abandon, Submit
from app.errors import Busy, ClientGone, DeadlineExceeded, NotReady, Problem, Quarantined
from app.options import Options
from tests.engine.engine_samples import num_open_files, wait_until, within


@contextmanager
def conversation(max_points: int = 1000) -> Iterator[SimpleNamespace]:
    """``scheduler`` of the owner and ``remote`` of a front; ``shut`` ends it as the death of the front does."""
    counts = Counts.create(2)
    scheduler = Scheduler(Admission(10, max_points, counts), BatchLimits(clouds=4, voxels=1000, delay_s=30.0))
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    jobs, owner = FrontJobs(ours, scheduler), Owner(other)

    def serve() -> None:
        with suppress(ChannelError):
            while True:
                message, fds = ours.receive()
                if isinstance(message, Submit):
                    jobs.submit(message, fds)
                elif isinstance(message, Abandon):
                    jobs.abandon(message)
        jobs.stop()

    serving = threading.Thread(target=serve)
    listening = threading.Thread(target=owner.listen, args=(lambda asked: None, lambda message: None))
    serving.start()
    listening.start()
    remote = RemoteScheduler(owner, Counts(counts.fd, 2, 1))
    try:
        yield SimpleNamespace(scheduler=scheduler, remote=remote, counts=counts, shut=other.shutdown)
    finally:
        other.shutdown()
        serving.join()
        listening.join()
        ours.close()
        other.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with conversation():  # so that what is opened once is open
        pass
    before = num_open_files()
    with ThreadPoolExecutor(8) as threads:
        yield threads
    wait_until(lambda: num_open_files() <= before + 2)  # memory files of the counts, which stay


def ask(remote: RemoteScheduler, num_points: int, deadline: Deadline | None = None, model: str = "m") -> np.ndarray:
    """The labels of a cloud, submitted as a request does it."""
    deadline = deadline or within(30)
    with remote.arriving(), pack_cloud(Cloud(np.zeros((num_points, 3)), "npy")) as cloud:
        job = remote.submit(cloud, Options(model), deadline.at_s, shares=True)
    done = remote.result(job, deadline)
    assert job.started_s >= job.submitted_s
    with done.segmentation as segmentation:
        assert (done.num_voxels, done.batch_size) == (7, 2)
        return unpack_segmentation(segmentation).labels


def answer(scheduler: Scheduler) -> int:
    """Do what an engine does with the next cloud; its number of points."""
    (job,) = scheduler.take(30.0)
    labels = np.arange(job.num_points, dtype=np.int32)
    done = pack_segmentation(Segmentation(labels, SegmentationMeta([ClassInfo(0, "a", (0, 0, 0))])))
    scheduler.finish(job, SegmentedCloud(done, 7, 2))
    return job.num_points


def test_cloud_of_a_front_is_answered_by_the_owner_without_waiting_for_others(threads):
    with conversation() as talk:
        asked = threads.submit(ask, talk.remote, 5)
        wait_until(lambda: talk.scheduler.num_waiting == 1)
        assert talk.counts.total(Each.COMING) == 0  # so that no batch waits for another cloud
        assert answer(talk.scheduler) == 5
        assert asked.result().tolist() == [0, 1, 2, 3, 4]
        assert talk.scheduler.admission.num_points == 0


def test_what_stands_against_a_cloud_comes_as_the_same_problem(threads):
    with conversation(max_points=8) as talk:
        first = threads.submit(ask, talk.remote, 5)
        wait_until(lambda: talk.scheduler.num_waiting == 1)
        with pytest.raises(Busy) as refused:
            ask(talk.remote, 5)
        assert refused.value.retry_after_s == 1
        (job,) = talk.scheduler.take(30.0)
        for _ in range(STRIKES):
            talk.scheduler.quarantine.strike(job.cloud, "m", "was killed")
        talk.scheduler.lost([job], True, "was killed")
        with pytest.raises(Quarantined):
            first.result()
        with pytest.raises(Quarantined):
            ask(talk.remote, 5)
        talk.scheduler.refuse("No engine.", time.monotonic() + 50)
        with pytest.raises(NotReady, match=r"No engine\.") as refused:
            ask(talk.remote, 4)
        assert 40 < refused.value.retry_after_s <= 50


def test_job_of_a_lost_engine_runs_again(threads):
    with conversation() as talk:
        asked = threads.submit(ask, talk.remote, 3)
        (job,) = talk.scheduler.take(30.0)
        talk.scheduler.lost([job], False, "was killed")
        assert answer(talk.scheduler) == 3
        assert asked.result().tolist() == [0, 1, 2]


def test_nobody_waits_for_what_a_front_gave_up(threads):
    with conversation() as talk:
        hung_up = threading.Event()
        waits = threads.submit(ask, talk.remote, 3, Deadline.after(30, hung_up.is_set))
        wait_until(lambda: talk.scheduler.num_waiting == 1)
        hung_up.set()
        with pytest.raises(ClientGone):
            waits.result()
        wait_until(lambda: talk.scheduler.num_waiting == 0)
        runs = threads.submit(ask, talk.remote, 4, within(0.5))
        (job,) = talk.scheduler.take(30.0)
        with pytest.raises(DeadlineExceeded):
            runs.result()
        wait_until(lambda: job.status.value == "abandoned")
        talk.scheduler.finish(job, Problem("too late"))
        assert talk.scheduler.admission.num_points == 0


def test_clouds_of_a_front_that_dies_leave_the_queue(threads):
    with conversation() as talk:
        asked = [threads.submit(ask, talk.remote, count, within(1)) for count in (3, 4)]
        wait_until(lambda: talk.scheduler.num_waiting == 2)
        jobs = talk.scheduler.take(30.0)
        last = threads.submit(ask, talk.remote, 5, within(1))
        wait_until(lambda: talk.scheduler.num_waiting == 1)
        talk.shut()
        wait_until(lambda: talk.scheduler.num_waiting == 0)
        wait_until(lambda: {job.status.value for job in jobs} == {"abandoned"})
        for job in jobs:
            talk.scheduler.finish(job, Problem("not wanted"))
        assert talk.scheduler.admission.num_points == 0
        for request in (*asked, last):
            assert isinstance(request.exception(), Problem)
