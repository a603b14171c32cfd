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
