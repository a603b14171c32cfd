import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from app.errors import ClientGone
from app.pipeline.run_context import RunContext
from app.pipeline.turns import Turns
from tests.engine.engine_samples import wait_until

CPU = torch.device("cpu")


def test_one_network_runs_at_a_time_and_the_others_say_that_they_waited():
    turns, runs, running = Turns(), [RunContext([]) for _ in range(4)], []

    def waited() -> list[RunContext]:
        return [run for run in runs if "wait" in run.timings_ms]

    def call(run: RunContext) -> None:
        with turns.turn(CPU, run):
            running.append(run)
            wait_until(lambda: len(waited()) == 3)
            assert len(running) == 1
            running.clear()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(call, runs))
    assert all(list(run.timings_ms) == ["wait", "network"] and run.timings_ms["wait"] > 0 for run in waited())
    assert [list(run.timings_ms) for run in runs if run not in waited()] == [["network"]]


def test_a_network_that_has_nobody_beside_it_does_not_wait():
    turns = Turns()
    for _ in range(2):
        run = RunContext([])
        with turns.turn(CPU, run):
            pass
        assert list(run.timings_ms) == ["network"]


def test_what_fails_or_is_cancelled_leaves_the_turn_to_the_next():
    def cancelled() -> None:
        raise ClientGone("gone")

    turns, begun, ends = Turns(), threading.Event(), threading.Event()

    def hold() -> None:
        with turns.turn(CPU, RunContext([])):
            begun.set()
            ends.wait()
            raise ValueError("as asked")

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        begun.wait()
        with pytest.raises(ClientGone), turns.turn(CPU, RunContext([], cancelled)):
            raise AssertionError("it was called")
        ends.set()
        with pytest.raises(ValueError, match="as asked"):
            holding.result()
    with pytest.raises(ClientGone), turns.turn(CPU, RunContext([], cancelled)):
        raise AssertionError("it was called")
    with turns.turn(CPU, RunContext([])):
        pass
