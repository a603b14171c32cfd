"""Whose turn it is to take what is idle."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine.idle import Idle
from app.errors import DeadlineExceeded
from tests.engine.engine_samples import wait_until, within


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_first_come_first_served_but_those_in_the_background_last(threads):
    idle, served = Idle(kept=0), []

    def take(name, is_background):
        idle.take(within(30), "late", is_background=is_background)
        served.append(name)

    def length_is(things, number):
        wait_until(lambda: len(things) == number)

    for number, (name, is_background) in enumerate([("tile", True), ("first", False), ("second", False)], 1):
        threads.submit(take, name, is_background)
        length_is(idle._waiting, number)
    for number in range(1, 4):
        idle.put("reader")
        length_is(served, number)
    assert served == ["first", "second", "tile"]


def test_one_is_kept_from_those_in_the_background(threads):
    idle = Idle(kept=1)
    for name in ("a", "b"):
        idle.put(name)
    assert idle.take(within(30), "late", is_background=True) == "a"
    waits = threads.submit(idle.take, within(30), "late", is_background=True)
    wait_until(lambda: idle._waiting)
    assert idle.take(within(30), "late") == "b"
    idle.put("b")
    time.sleep(0.01)
    assert not waits.done()
    idle.put("a")
    assert waits.result() == "b"


def test_who_waits_too_long_takes_nothing(threads):
    idle = Idle(kept=0)
    with pytest.raises(DeadlineExceeded, match="too late"):
        idle.take(within(0.05), "too late")
    idle.put("a")
    assert idle.take(within(30), "late") == "a"
