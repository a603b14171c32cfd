import threading
import time

from app.http.front.pool import Pool

LIMIT_S = 10.0


def test_what_a_free_thread_is_about_to_take_does_not_wait():
    """Clients that are slow give way to what waits; so nothing may seem to, for however short a time."""
    begin, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def work(item: str) -> None:
        begin.release()
        assert go_on.acquire(timeout=LIMIT_S)
        if item == "bug":
            raise ValueError("a bug")

    pool: Pool[str] = Pool("test", 2, work)
    for item in ("first", "bug"):
        pool.submit(item)
        assert pool.num_waiting == 0
    assert begin.acquire(timeout=LIMIT_S)
    assert begin.acquire(timeout=LIMIT_S)
    pool.submit("third")
    pool.submit("fourth")
    assert pool.num_waiting == 2
    go_on.release(4)
    until_s = time.monotonic() + LIMIT_S
    while pool.num_waiting and time.monotonic() < until_s:
        time.sleep(0.01)
    assert pool.num_waiting == 0
    pool.submit("after a bug")
    assert pool.num_waiting == 0
    go_on.release()
