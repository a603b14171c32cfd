import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.clouds.cloud import ClassInfo, Cloud, Segmentation, SegmentationMeta
from app.engine.admission import Admission
from app.engine.deadline import Deadline
from app.engine.job import CloudJob, SegmentedCloud
from app.engine.job_queue import BatchLimits, Taker
from app.engine.packed import pack_cloud, pack_segmentation
from app.engine.quarantine import STRIKES
from app.engine.scheduler import Scheduler
from app.errors import Busy, ClientGone, DeadlineExceeded, NotReady, Problem, Quarantined
from app.options import Options
from tests.engine.engine_samples import num_open_files, wait_until, within


@pytest.fixture
def threads():
    before = num_open_files()
    with ThreadPoolExecutor(8) as threads:
        yield threads
    assert num_open_files() == before


def scheduler_of(max_points: int = 100_000, **batches) -> Scheduler:
    return Scheduler(Admission(10, max_points), BatchLimits(**batches))


def submit(scheduler: Scheduler, num_points: int, model: str = "m", **how) -> CloudJob:
    how = {"deadline_s": time.monotonic() + 30, "shares": True} | how
    with pack_cloud(Cloud(np.zeros((num_points, 3)), "npy")) as cloud:
        return scheduler.submit(cloud, Options(model), **how)


def run(scheduler: Scheduler, num_points: int, timeout_s: float = 30.0) -> int:
    """Submit a cloud as a request would; the number of labels that came back."""
    deadline = within(timeout_s)
    job = submit(scheduler, num_points, deadline_s=deadline.at_s, shares=False)
    with scheduler.result(job, deadline).segmentation as segmentation:
        return segmentation.num_points


def taken(scheduler: Scheduler, engine: str = "first") -> CloudJob:
    (job,) = scheduler.take(30.0, taker=Taker(engine))
    return job


def finish(scheduler: Scheduler, job: CloudJob, num_voxels: int = 0) -> None:
    classes = [ClassInfo(0, "a", (0, 0, 0))]
    labels = pack_segmentation(Segmentation(np.zeros(job.num_points, np.int32), SegmentationMeta(classes)))
    scheduler.finish(job, SegmentedCloud(labels, num_voxels))


def sizes_taken(scheduler: Scheduler, engine: str = "first") -> list[int]:
    jobs = scheduler.take(30.0, taker=Taker(engine))
    for job in jobs:
        scheduler.finish(job, Problem("not wanted"))
    return [job.num_points for job in jobs]


def test_jobs_are_taken_in_the_order_of_their_coming(threads):
    scheduler = scheduler_of()
    requests = []
    for num_points in (3, 1, 2):
        requests.append(threads.submit(run, scheduler, num_points))
        wait_until(lambda: scheduler.num_waiting == len(requests))
    for num_points in (3, 1, 2):
        job = taken(scheduler)
        assert job.num_points == num_points
        finish(scheduler, job)
    assert [request.result() for request in requests] == [3, 1, 2]
    assert scheduler.admission.num_points == 0


def test_take_gives_nothing_when_nothing_comes():
    assert scheduler_of().take(0.01) == []


def test_points_over_the_limit_are_busy_until_an_engine_is_done_with_them(threads):
    scheduler = scheduler_of(100)
    first = threads.submit(run, scheduler, 60)
    job = taken(scheduler)
    with pytest.raises(Busy):
        run(scheduler, 41)
    second = threads.submit(run, scheduler, 40)
    job_2 = taken(scheduler)
    finish(scheduler, job)
    assert first.result() == 60
    finish(scheduler, job_2)
    assert second.result() == 40


def test_cloud_larger_than_the_whole_queue_is_taken_when_it_is_alone(threads):
    scheduler = scheduler_of(100)
    request = threads.submit(run, scheduler, 101)
    job = taken(scheduler)
    finish(scheduler, job)
    assert request.result() == 101


def test_retry_after_follows_the_recent_rate(threads):
    scheduler = scheduler_of(1000)
    request = threads.submit(run, scheduler, 100)
    job = taken(scheduler)
    job.started_s -= 2.0  # as if it had run for two seconds: 50 points a second
    finish(scheduler, job)
    request.result()
    waiting = threads.submit(run, scheduler, 1000)
    job = taken(scheduler)
    with pytest.raises(Busy) as caught:
        run(scheduler, 1)
    assert 20 <= caught.value.retry_after_s < 50
    scheduler.finish(job, NotReady("lost"))
    assert isinstance(waiting.exception(), NotReady)


def test_request_whose_time_is_over_leaves_the_queue(threads):
    scheduler = scheduler_of(1000)
    with pytest.raises(DeadlineExceeded):
        run(scheduler, 5, timeout_s=0.05)
    assert scheduler.take(0.0) == []
    assert scheduler.admission.num_points == 0


def test_job_past_its_deadline_never_reaches_an_engine():
    scheduler = scheduler_of()
    job = submit(scheduler, 5, deadline_s=time.monotonic() - 1)
    assert scheduler.take(0.0) == []
    assert isinstance(job.result.exception(0), DeadlineExceeded)
    assert scheduler.admission.num_points == 0


def test_answer_that_nobody_waits_for_is_dropped_and_counts_until_then(threads):
    scheduler = scheduler_of(1000)
    request = threads.submit(run, scheduler, 5, 0.1)
    job = taken(scheduler)
    assert isinstance(request.exception(), DeadlineExceeded)
    assert scheduler.admission.num_points == 5
    finish(scheduler, job)
    assert scheduler.admission.num_points == 0


def test_problem_of_a_job_reaches_its_request(threads):
    scheduler = scheduler_of(1000)
    request = threads.submit(run, scheduler, 5)
    scheduler.finish(taken(scheduler), Problem("broken"))
    with pytest.raises(Problem, match="broken"):
        request.result()


def test_stopping_ends_what_waits_for_good(threads):
    scheduler = scheduler_of()
    request = threads.submit(run, scheduler, 5)
    wait_until(lambda: scheduler.num_waiting == 1)
    scheduler.stop()
    scheduler.refuse("")  # an engine is ready again
    assert isinstance(request.exception(), NotReady)
    with pytest.raises(NotReady, match="stopping"):
        run(scheduler, 5)


def test_job_that_comes_when_no_engine_is_left_does_not_wait_for_its_deadline(threads):
    scheduler = scheduler_of()
    waiting = threads.submit(run, scheduler, 3)
    wait_until(lambda: scheduler.num_waiting == 1)
    scheduler.refuse("No engine is left.")
    late = threads.submit(run, scheduler, 3)
    for request in (waiting, late):
        with pytest.raises(NotReady, match="No engine is left"):
            request.result(5)
    assert scheduler.admission.num_points == 0


SHARING = BatchLimits(clouds=3, voxels=1000, delay_s=5.0)


def test_batch_is_bounded_in_clouds_and_in_voxels():
    scheduler = Scheduler(Admission(10, 100_000), SHARING)
    for num_points in (100, 200, 300, 400, 500, 101, 5000, 1):
        submit(scheduler, num_points)
    assert [sizes_taken(scheduler) for _ in range(4)] == [[100, 200, 300], [400, 500], [101], [5000]]
    assert sizes_taken(scheduler) == [1]
    assert scheduler.admission.num_points == 0


def test_batch_has_one_model_and_only_those_that_may_share():
    scheduler = Scheduler(Admission(10, 100_000), SHARING)
    for num_points, model, shares in ((1, "a", True), (2, "b", True), (3, "b", False), (4, "b", True), (5, "b", True)):
        submit(scheduler, num_points, model, shares=shares)
    assert [sizes_taken(scheduler) for _ in range(4)] == [[1], [2], [3], [4, 5]]


def test_voxels_of_a_cloud_are_those_of_the_clouds_before_it():
    scheduler = Scheduler(Admission(10, 100_000), SHARING)
    submit(scheduler, 1000)
    job = taken(scheduler)
    finish(scheduler, job, num_voxels=100)
    job.result.result().segmentation.close()
    for _ in range(3):
        submit(scheduler, 3000)
    assert sizes_taken(scheduler) == [3000, 3000, 3000]


def test_batch_waits_for_clouds_that_are_being_read_and_for_no_others(threads):
    scheduler = Scheduler(Admission(10, 100_000), SHARING)
    submit(scheduler, 1)
    begin_s = time.monotonic()
    assert sizes_taken(scheduler) == [1]
    assert time.monotonic() - begin_s < SHARING.delay_s / 2
    with scheduler.arriving():
        submit(scheduler, 1)
        batch = threads.submit(sizes_taken, scheduler)
        wait_until(lambda: scheduler.num_idle == 1)
        submit(scheduler, 2)
        assert not batch.done()
        submit(scheduler, 3)
        assert batch.result() == [1, 2, 3]


def test_memory_over_the_limit_is_busy_but_for_one_cloud_alone():
    scheduler = scheduler_of()
    scheduler.admission.max_device_bytes = 100
    job = submit(scheduler, 1, need_bytes=150)
    with pytest.raises(Busy, match="memory"):
        submit(scheduler, 1, need_bytes=1)
    assert scheduler.admission.refusals == {"memory": 1}
    assert scheduler.take(0.0) == [job]
    scheduler.finish(job, Problem("not wanted"))
    submit(scheduler, 1)
    assert sizes_taken(scheduler) == [1]


HOW = "was ended by SIGKILL"


def lose(scheduler: Scheduler, *num_points: int, was_begun: bool = True) -> None:
    """Take the next batch, which has these sizes, and lose the engine with it."""
    jobs = scheduler.take(0.0)
    assert [job.num_points for job in jobs] == list(num_points)
    scheduler.lost(jobs, was_begun, HOW)


def test_clouds_of_a_lost_engine_go_alone_and_after_those_that_were_in_none():
    scheduler = Scheduler(Admission(10, 100_000), SHARING)
    lost = [submit(scheduler, 1), submit(scheduler, 2)]
    lose(scheduler, 1, 2)
    submit(scheduler, 3)
    submit(scheduler, 4)
    assert sizes_taken(scheduler) == [3, 4]
    submit(scheduler, 5)
    lose(scheduler, 1)
    assert sizes_taken(scheduler) == [5]
    assert sizes_taken(scheduler) == [2]
    lose(scheduler, 1)
    assert isinstance(lost[0].result.exception(), Quarantined)
    assert HOW in lost[0].result.exception().detail
    with pytest.raises(Quarantined):
        submit(scheduler, 1)
    assert len(scheduler.quarantine) == 1
    scheduler.quarantine.forget("another")
    assert len(scheduler.quarantine) == 1
    scheduler.quarantine.forget("m")
    assert len(scheduler.quarantine) == 0


def test_losses_over_several_models_as_one_are_forgotten_once_one_of_them_changes():
    scheduler = scheduler_of()
    submit(scheduler, 1, "some+m")
    lose(scheduler, 1)
    lose(scheduler, 1)
    assert len(scheduler.quarantine) == 1
    scheduler.quarantine.forget("so")
    assert len(scheduler.quarantine) == 1
    scheduler.quarantine.forget("m")
    assert len(scheduler.quarantine) == 0


def test_between_two_losses_everyone_who_waited_has_a_turn_small_before_large():
    """Large clouds that each lose the engine; one is known by now, the others are as large."""
    scheduler = scheduler_of()
    for num_points in (900, 901, 10, 902, 11):
        submit(scheduler, num_points)
    lose(scheduler, 900)
    submit(scheduler, 12)
    assert [sizes_taken(scheduler) for _ in range(3)] == [[10], [11], [12]]
    submit(scheduler, 13)  # after the engine was back, so the clouds before it keep their turns
    lose(scheduler, 901)
    submit(scheduler, 14)
    assert [sizes_taken(scheduler) for _ in range(3)] == [[13], [14], [902]]
    submit(scheduler, 15)
    assert [sizes_taken(scheduler) for _ in range(3)] == [[900], [901], [15]]


def test_clouds_of_lost_engines_are_in_one_of_several_engines_at_a_time(threads):
    scheduler = scheduler_of()
    for num_points in (1, 2):
        submit(scheduler, num_points)
    for num_points in (1, 2):
        lose(scheduler, num_points)
    suspect = taken(scheduler)
    assert scheduler.take(0.0, taker=Taker("second")) == []
    submit(scheduler, 3)
    assert scheduler.take(0.0, taker=Taker("first")) == []
    assert sizes_taken(scheduler, "second") == [3]
    other = threads.submit(sizes_taken, scheduler, "second")
    wait_until(lambda: scheduler.num_idle == 1)
    scheduler.finish(suspect, Problem("not wanted"))
    assert other.result() == [2]
    assert scheduler.admission.num_points == 0


def test_cloud_that_waits_while_its_twin_is_blamed_is_not_run():
    scheduler = scheduler_of()
    twins = [submit(scheduler, 7) for _ in range(4)]
    for _ in range(STRIKES):
        lose(scheduler, 7)
    submit(scheduler, 8)
    taken = [job.num_points for engine in "abcd" for job in scheduler.take(0.0, taker=Taker(engine))]
    assert taken == [8]
    assert all(isinstance(twin.result.exception(0), Quarantined) for twin in twins)
    assert scheduler.admission.num_points == 8


def test_request_that_is_refused_for_a_pause_hears_how_long_it_is(threads):
    scheduler = scheduler_of()
    waiting = threads.submit(run, scheduler, 3)
    wait_until(lambda: scheduler.num_waiting == 1)
    scheduler.refuse("It rests.", time.monotonic() + 100)
    with pytest.raises(NotReady) as late:
        run(scheduler, 3)
    for problem in (waiting.exception(), late.value):
        assert 90 < problem.retry_after_s <= 100
    assert scheduler.admission.num_points == 0


def test_job_that_its_lost_engine_had_not_begun_is_not_blamed():
    scheduler = Scheduler(Admission(10, 100_000), SHARING)
    submit(scheduler, 1)
    for _ in range(STRIKES):
        lose(scheduler, 1, was_begun=False)
    assert sizes_taken(scheduler) == [1]
    assert len(scheduler.quarantine) == 0


def test_client_that_hangs_up_leaves_the_queue():
    scheduler = scheduler_of(1000)
    with pytest.raises(ClientGone):
        scheduler.result(submit(scheduler, 1), Deadline.after(30, lambda: True))
    assert scheduler.take(0.0) == []
    assert scheduler.admission.num_points == 0


def test_cloud_of_a_lost_engine_waits_until_its_engine_has_no_other_and_then_has_it_alone(threads):
    scheduler = scheduler_of()
    for num_points in (1, 2):
        submit(scheduler, num_points)
    lose(scheduler, 1)
    other = taken(scheduler)
    suspect = threads.submit(taken, scheduler)
    submit(scheduler, 3)  # its turn is after the suspect's
    wait_until(lambda: scheduler.num_idle == 1)
    assert not suspect.done()
    scheduler.finish(other, Problem("not wanted"))
    assert suspect.result().num_points == 1
    assert scheduler.take(0.0, taker=Taker("first")) == []
    scheduler.finish(suspect.result(), Problem("not wanted"))
    assert sizes_taken(scheduler) == [3]


def test_engine_with_the_fewest_clouds_gets_the_next(threads):
    scheduler = scheduler_of()
    submit(scheduler, 1)
    running = taken(scheduler)
    busy = threads.submit(taken, scheduler)
    idle = threads.submit(taken, scheduler, "second")
    wait_until(lambda: len(scheduler._waiters) == 2)
    submit(scheduler, 2)
    assert idle.result().engine == "second"
    submit(scheduler, 3)
    assert busy.result().num_points == 3
    for job in (running, idle.result(), busy.result()):
        scheduler.finish(job, Problem("not wanted"))
    assert scheduler.admission.num_points == 0


def test_clouds_beside_each_other_have_room_on_the_device_and_one_alone_need_not():
    scheduler = scheduler_of()
    for need_bytes in (150, 60, 40, 1):
        submit(scheduler, 1, need_bytes=need_bytes)
    taker = Taker("first", room_bytes=100)
    (large,) = scheduler.take(0.0, taker=taker)
    assert scheduler.take(0.0, taker=taker) == []
    scheduler.finish(large, Problem("not wanted"))
    beside = [scheduler.take(0.0, taker=taker)[0] for _ in range(2)]
    assert [job.need_bytes for job in beside] == [60, 40]
    assert scheduler.take(0.0, taker=taker) == []
    scheduler.finish(beside[0], Problem("not wanted"))
    assert [job.need_bytes for job in scheduler.take(0.0, taker=taker)] == [1]


def test_engine_that_is_held_gets_nothing_and_has_nothing_left(threads):
    scheduler = scheduler_of()
    submit(scheduler, 1)
    running = taken(scheduler)
    held = threading.Event()

    def hold() -> None:
        with scheduler.holding("first", lambda: False):
            held.set()
            assert scheduler.take(0.0, taker=Taker("first")) == []

    submit(scheduler, 2)
    holding = threads.submit(hold)
    wait_until(lambda: scheduler._held == {"first"})
    assert scheduler.take(0.0, taker=Taker("first")) == []
    assert not held.is_set()
    scheduler.finish(running, Problem("not wanted"))
    holding.result()
    assert sizes_taken(scheduler) == [2]


def test_seconds_of_clouds_beside_each_other_are_not_counted_for_each():
    scheduler = scheduler_of(1000)
    for _ in range(4):
        submit(scheduler, 100)
    jobs = [taken(scheduler) for _ in range(4)]
    for job in jobs:
        job.started_s -= 4.0
    for job in jobs[:1]:
        finish(scheduler, job)
        job.result.result().segmentation.close()
    submit(scheduler, 700)
    with pytest.raises(Busy) as caught:
        submit(scheduler, 1)
    assert caught.value.retry_after_s == pytest.approx(10, abs=1)  # 1000 points, of which 100 took a second


def test_clouds_in_the_background_fill_no_queue(threads):
    scheduler = scheduler_of(max_points=100)
    jobs = [submit(scheduler, 90, background_s=30.0) for _ in range(3)]
    asked = submit(scheduler, 90)
    assert scheduler.admission.num_points == 90
    for job in (asked, *jobs):
        assert taken(scheduler) is job
        finish(scheduler, job)
        job.result.result().segmentation.close()
    assert scheduler.admission.num_points == 0
