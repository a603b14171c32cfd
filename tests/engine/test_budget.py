import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine.budget import MemoryBudget
from app.engine.deadline import Deadline
from app.errors import Busy, ClientGone, TooLarge
from app.settings import MIB
from tests.engine.engine_samples import wait_until, within


def test_what_is_held_is_counted_and_given_back():
    budget = MemoryBudget(100 * MIB)
    with budget.reservation() as first, budget.reservation() as second:
        first.resize(60 * MIB, within(1), "The cloud")
        second.resize(40 * MIB, within(1), "The cloud")
        assert budget.used_bytes == 100 * MIB
        first.resize(10 * MIB, within(1), "The cloud")
        assert budget.used_bytes == 50 * MIB
        with second.moved() as other:
            assert (second.num_bytes, other.num_bytes) == (0, 40 * MIB)
        assert budget.used_bytes == 10 * MIB
    assert budget.used_bytes == 0


def test_what_never_fits_is_too_large_at_once():
    budget = MemoryBudget(100 * MIB)
    with budget.reservation() as held, pytest.raises(TooLarge, match=r"about 101 MiB .* 100 MiB"):
        held.resize(101 * MIB, within(60), "The cloud")
    assert budget.used_bytes == 0


def test_files_leave_half_of_it_to_work():
    budget = MemoryBudget(100 * MIB)
    with budget.reservation() as file, budget.reservation() as other:
        assert file.add(40 * MIB)
        assert not other.add(11 * MIB)
        assert other.add(10 * MIB)
        assert budget.used_bytes == 50 * MIB


def test_without_a_limit_everything_fits():
    with MemoryBudget().reservation() as held:
        assert held.add(1 << 50)
        held.resize(1 << 60, within(1), "The cloud")


def test_what_does_not_fit_now_waits_for_its_turn_and_small_requests_pass():
    budget = MemoryBudget(100 * MIB)
    order = []

    def take(name: str, num_bytes: int) -> None:
        with budget.reservation() as held:
            held.resize(num_bytes, within(60), "The cloud")
            order.append(name)

    with ThreadPoolExecutor() as threads, budget.reservation() as first:
        first.resize(90 * MIB, within(1), "The cloud")
        large = threads.submit(take, "large", 80 * MIB)
        wait_until(lambda: budget.num_waiting == 1)
        middle = threads.submit(take, "middle", 5 * MIB)
        wait_until(lambda: budget.num_waiting == 2)
        threads.submit(take, "small", MIB).result(30)
        assert not large.done()
        assert not middle.done()
        first.close()
        large.result(30)
        middle.result(30)
    assert order == ["small", "large", "middle"]


def test_who_waits_too_long_is_told_to_come_back(monkeypatch):
    monkeypatch.setattr("app.engine.budget.PATIENCE_S", 0.1)
    budget = MemoryBudget(100 * MIB)
    with budget.reservation() as first, budget.reservation() as second:
        first.resize(90 * MIB, within(1), "The cloud")
        with pytest.raises(Busy, match="other requests hold") as caught:
            second.resize(20 * MIB, within(60), "The cloud")
        assert caught.value.retry_after_s
        assert budget.refusals["host_memory"] == 1
        assert budget.num_waiting == 0


def test_who_hung_up_waits_no_longer():
    budget = MemoryBudget(100 * MIB)
    gone = threading.Event()
    with ThreadPoolExecutor() as threads, budget.reservation() as first, budget.reservation() as second:
        first.resize(90 * MIB, within(1), "The cloud")
        waiting = threads.submit(second.resize, 20 * MIB, Deadline.after(60, gone.is_set), "The cloud")
        wait_until(lambda: budget.num_waiting == 1)
        gone.set()
        assert isinstance(waiting.exception(30), ClientGone)
