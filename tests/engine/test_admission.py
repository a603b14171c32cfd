from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine.admission import Admission
from app.errors import Busy, NotReady
from tests.engine.engine_samples import wait_until


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_requests_over_the_limit_are_busy_until_one_is_closed():
    admission = Admission(2, 10_000)
    with admission.admit(), admission.admit() as second:
        with pytest.raises(Busy) as caught:
            admission.admit()
        assert caught.value.retry_after_s >= 1
        assert admission.refusals == {"requests": 1}
        second.close()
        second.close()
        admission.admit().close()
        assert admission.num_requests == 1
    assert admission.num_requests == 0


def test_request_waits_for_one_that_gives_way(threads):
    admission = Admission(1, 10_000)
    slow = admission.admit()
    threads.submit(admission.admit, lambda: bool(threads.submit(slow.close))).result().close()
    assert admission.num_requests == 0
    assert not admission.refusals


def test_request_is_not_admitted_while_nobody_gives_way(threads):
    admission = Admission(1, 10_000)
    with admission.admit(), pytest.raises(Busy):
        admission.admit(lambda: False)


def test_closing_waits_for_those_admitted_and_refuses_others(threads):
    admission = Admission(2, 10_000)
    with admission.admit():
        closing = threads.submit(admission.close, 30.0)
        wait_until(lambda: is_closed(admission))
        assert not closing.done()
    closing.result()
    with pytest.raises(NotReady, match="stopping"):
        admission.admit()


def test_closing_waits_no_longer_than_the_grace():
    admission = Admission(1, 10_000)
    with admission.admit():
        admission.close(0.05)
        assert admission.num_requests == 1


def is_closed(admission: Admission) -> bool:
    """Whether requests are refused for good; one that is admitted leaves at once."""
    try:
        admission.admit().close()
    except NotReady:
        return True
    return False
