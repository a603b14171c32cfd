import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine.admission import Admission
from app.engine.budget import MemoryBudget
from app.engine.counts import Counts, Each, Shared
from app.errors import Busy, NotReady
from app.settings import MIB
from tests.engine.engine_samples import wait_until, within

HOLDS_THE_LOCK = """
import sys, time
from app.engine.counts import Counts
with Counts(int(sys.argv[1]), 2, 1).locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def both() -> tuple[Counts, Counts]:
    """As two processes have them."""
    counts = Counts.create(2)
    return counts, Counts(counts.fd, 2, 1)


def test_each_process_adds_to_its_own_numbers_and_sees_all(both):
    owner, front = both
    owner.add(Each.REQUESTS, 2)
    front.add(Each.REQUESTS, 3)
    front.add(Each.REFUSED, 1)
    owner.share(Shared.WAIT_S, 7)
    assert (owner.total(Each.REQUESTS), owner.others(Each.REQUESTS), front.others(Each.REQUESTS)) == (5, [3], [2])
    assert front.shared(Shared.WAIT_S) == 7
    owner.clear(1)
    assert (owner.total(Each.REQUESTS), owner.total(Each.REFUSED)) == (2, 1)
    owner.clear(1)
    assert owner.total(Each.REFUSED) == 1


def test_requests_are_bounded_over_all_processes_until_one_of_them_ends(both):
    owner, front = (Admission(3, 1000, counts) for counts in both)
    held = [owner.admit(), front.admit(), front.admit()]
    for admission in (owner, front):
        with pytest.raises(Busy):
            admission.admit()
        assert admission.num_requests == 3
    assert owner.refusals == front.refusals == {"requests": 2}
    held[0].close()
    held[0].close()
    front.admit()
    both[0].clear(1)
    assert owner.num_requests == 0
    owner.close()
    with pytest.raises(NotReady):
        front.admit()


def test_memory_is_bounded_over_all_processes_and_given_back_by_one_that_ends(both):
    owner, front = MemoryBudget(100 * MIB, both[0]), MemoryBudget(counts=both[1])
    assert front.total_bytes == 100 * MIB
    of_front = front.reservation()
    of_front.resize(80 * MIB, within(1), "The cloud")
    of_owner = owner.reservation()
    assert not of_owner.add(40 * MIB, 1)
    with pytest.raises(Busy):
        of_owner.resize(40 * MIB, within(0.2), "The cloud")
    assert owner.refusals["host_memory"] == 1
    both[0].clear(1)
    of_owner.resize(40 * MIB, within(1), "The cloud")
    assert (owner.used_bytes, front.used_bytes) == (40 * MIB, 40 * MIB)


def test_whoever_waits_for_memory_first_in_any_process_gets_it_first(both, threads):
    owner, front = MemoryBudget(100 * MIB, both[0]), MemoryBudget(counts=both[1])
    held, first, second = owner.reservation(), front.reservation(), owner.reservation()
    held.resize(90 * MIB, within(1), "The cloud")
    large = threads.submit(first.resize, 80 * MIB, within(30), "The cloud")
    wait_until(lambda: bool(both[1].of(1, Each.MEMORY_SINCE)))
    small = threads.submit(second.resize, 9 * MIB, within(30), "The cloud")
    wait_until(lambda: owner.num_waiting == 1)
    time.sleep(0.2)
    assert not small.done()  # though there is room for it
    held.close()
    large.result()
    small.result()
    assert owner.used_bytes == 89 * MIB


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def test_lock_of_a_process_that_is_killed_is_given_back(both, threads):
    counts = both[0]
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(counts.fd)]
    with subprocess.Popen(command, pass_fds=[counts.fd], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"

        def lock() -> float:
            with counts.locked():
                return time.monotonic()

        locked = threads.submit(lock)
        time.sleep(0.2)
        assert not locked.done()
        process.send_signal(signal.SIGKILL)
        locked.result(30)
