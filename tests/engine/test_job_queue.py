import time

import numpy as np
import pytest

from app.clouds.cloud import Cloud
from app.engine.job import CloudJob
from app.engine.job_queue import BatchLimits, JobQueue, Taker
from app.engine.packed import pack_cloud
from app.options import Options


@pytest.mark.parametrize(("num_engines", "sizes"), [(1, [10]), (2, [5, 5]), (3, [4, 3, 3]), (4, [3, 3, 2, 2])])
def test_engines_that_are_free_share_what_waits(num_engines, sizes):
    queue = JobQueue(BatchLimits(clouds=10, voxels=1000))
    with pack_cloud(Cloud(np.zeros((1, 3)), "npy")) as cloud:
        for _ in range(10):
            queue.add(CloudJob(cloud, Options("m"), time.monotonic() + 30, shares=True))
        assert [len(queue.take(num_idle, Taker(str(num_idle)))) for num_idle in range(num_engines, 0, -1)] == sizes
        assert len(queue) == 0


def test_jobs_in_the_background_go_when_no_other_waits_and_have_their_time_from_then():
    queue = JobQueue(BatchLimits(clouds=10, voxels=1000))
    with pack_cloud(Cloud(np.zeros((1, 3)), "npy")) as cloud:
        tiles = [CloudJob(cloud, Options("m"), np.inf, shares=True, background_s=60.0) for _ in range(2)]
        requests = [CloudJob(cloud, Options("m"), time.monotonic() + 30, shares=True) for _ in range(2)]
        for job in (*tiles, *requests):
            queue.add(job)
        assert queue.take(1, Taker()) == requests  # which share no pass with what may be large
        begin_s = time.monotonic()
        assert queue.take(1, Taker("other")) == tiles
        assert begin_s + 60 <= tiles[0].deadline_s <= time.monotonic() + 60


def test_jobs_in_the_background_leave_a_lane_and_half_of_the_room_of_an_engine():
    queue = JobQueue(BatchLimits())
    taker = Taker("gpu", room_bytes=100, lanes=3)
    with pack_cloud(Cloud(np.zeros((1, 3)), "npy")) as cloud:
        tiles = [CloudJob(cloud, Options("m"), np.inf, need_bytes=size, background_s=60.0) for size in (20, 20, 20)]
        for job in tiles:
            queue.add(job)
        assert [queue.take(1, taker) for _ in range(3)] == [tiles[:1], tiles[1:2], []]
        assert queue.ready(Taker("other", lanes=3)) == tiles[2:]
        request = CloudJob(cloud, Options("m"), time.monotonic() + 30, need_bytes=60)
        queue.add(request)
        assert queue.take(1, taker) == [request]
        queue.release(tiles[0])
        assert queue.take(1, taker) == []  # 20 + 60 are more than half of the room
        queue.release(request)
        assert queue.take(1, taker) == tiles[2:]


def test_an_engine_of_one_lane_does_what_is_in_the_background():
    queue = JobQueue(BatchLimits())
    with pack_cloud(Cloud(np.zeros((1, 3)), "npy")) as cloud:
        tile = CloudJob(cloud, Options("m"), np.inf, need_bytes=90, background_s=60.0)
        queue.add(tile)
        assert queue.take(1, Taker("cpu", room_bytes=100)) == [tile]
