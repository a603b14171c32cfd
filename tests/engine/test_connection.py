"""What a web process sends to an engine process: too much for one message, or before the process can read."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from app.clouds.cloud import Cloud
from app.engine import channel, connection
from app.engine.channel import Channel, ChannelError, close_all
from app.engine.connection import EngineConnection, HangLimits
from app.engine.heartbeat import Heartbeat, Lane
from app.engine.job import CloudJob, JobStatus
from app.engine.packed import pack_cloud
from app.engine.protocol import Batch, Configure, Failure, Ready
from app.errors import BadCloud, TooLarge
from app.options import Options
from app.settings import EngineSettings
from tests.engine.engine_samples import in_seconds


@pytest.fixture
def ends() -> Iterator[tuple[EngineConnection, Channel, Lane]]:
    """The connection, and what an engine process has of it."""
    ours, theirs = Channel.pair()
    theirs = Channel(theirs)
    heartbeat, fd = Heartbeat.create()
    close_all([fd])
    connection = EngineConnection(ours, heartbeat, 0, HangLimits(20.0, 0.0))
    yield connection, theirs, heartbeat.lanes[0]
    ours.close()
    theirs.close()


def job_of(num_columns: int) -> CloudJob:
    extra = {f"column {number:04d}": np.zeros(2, np.uint8) for number in range(num_columns)}
    cloud = Cloud(np.zeros((2, 3)), format="npz", extra=extra)
    job = CloudJob(pack_cloud(cloud), Options(model="m"), in_seconds(10))
    job.status, job.started_s = JobStatus.RUNNING, time.monotonic()
    return job


def answer_all(theirs: Channel, lane: Lane, sizes: list[int]) -> None:
    """Be an engine that finds every cloud bad; ``sizes`` takes the numbers of clouds that came together."""
    while True:
        try:
            message, fds = theirs.receive(in_seconds(20))
        except ChannelError:
            return
        assert isinstance(message, Batch)
        assert len(fds) == len(message.jobs)
        close_all(fds)
        lane.count_begun()
        sizes.append(len(message.jobs))
        for job in message.jobs:
            theirs.send(Failure.of(BadCloud("as asked"), job.job_id))


@pytest.mark.parametrize(
    ("columns", "together", "too_large"),
    [([5, 5, 5], [3], []), ([100, 100, 100], [1, 1, 1], []), ([100, 900, 5], [1, 1], [1]), ([900], [], [0])],
)
def test_clouds_that_no_message_can_hold_cost_no_engine_and_no_other_its_answer(
    ends, monkeypatch, columns, together, too_large
):
    ours, theirs, lane = ends
    monkeypatch.setattr(channel, "MAX_MESSAGE_BYTES", 20_000)
    sizes: list[int] = []
    engine = threading.Thread(target=answer_all, args=(theirs, lane, sizes))
    jobs = [job_of(number) for number in columns]
    engine.start()
    try:
        outcomes = dict(ours.serve(jobs))
        assert [outcomes[job].status for job in jobs] == [
            TooLarge.status if place in too_large else BadCloud.status for place in range(len(jobs))
        ]
        assert sizes == together
        assert ours.was_begun  # the next loss is laid to the clouds that were there
    finally:
        ours.channel.shutdown()
        engine.join()
        for job in jobs:
            job.cloud.close()


def test_settings_of_any_length_may_be_read_long_after_the_start(ends, monkeypatch):
    """A process reads them when it has imported torch; until then they must fit into no buffer."""
    ours, theirs, _ = ends
    monkeypatch.setattr(connection, "TAKE_S", 0.05)
    configuration = Configure(EngineSettings(models=":".join(f"/päth/{number}" for number in range(100_000))))
    ready = Ready("cpu", "x", 2, [])
    received = []

    def be_late() -> None:
        time.sleep(0.5)
        received.append(theirs.receive(in_seconds(20))[0])
        theirs.send(ready)

    engine = threading.Thread(target=be_late)
    engine.start()
    try:
        assert ours.ready(configuration) == (ready, [])
    finally:
        ours.channel.shutdown()
        engine.join()
    assert received == [configuration]
