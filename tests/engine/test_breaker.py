import time

from app.engine.breaker import FIRST_REST_S, MAX_REST_S, Breaker


def test_rests_grow_until_the_pause_and_begin_anew_with_an_answer():
    breaker = Breaker(failures=3, pause_s=100.0)
    assert [breaker.lost(over_clouds=False) for _ in range(4)] == [FIRST_REST_S, 2 * FIRST_REST_S, 100.0, 100.0]
    assert breaker.is_open
    breaker.answered()
    assert not breaker.is_open
    assert breaker.lost(over_clouds=False) == FIRST_REST_S


def test_losses_over_clouds_neither_count_nor_rest():
    breaker = Breaker(failures=2, pause_s=100.0)
    breaker.lost(over_clouds=False)
    assert [breaker.lost(over_clouds=True) for _ in range(9)] == [0.0] * 9
    assert not breaker.is_open
    assert breaker.lost(over_clouds=False) == 100.0


def test_losses_before_the_process_stayed_up_for_the_pause_are_forgotten(monkeypatch):
    breaker = Breaker(failures=2, pause_s=100.0)
    breaker.lost(over_clouds=False)
    breaker.ready()
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 101)
    assert breaker.lost(over_clouds=False) == FIRST_REST_S
    assert not breaker.is_open


def test_process_that_cannot_serve_is_tried_again_at_least_every_half_minute():
    breaker = Breaker(failures=2, pause_s=100.0)
    assert [breaker.failed() for _ in range(100)][-1] == MAX_REST_S
