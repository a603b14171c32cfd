import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.engine.company import Company
from tests.engine.engine_samples import wait_until


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_batches_that_want_to_be_alone_are_so_one_after_the_other_and_none_begins_meanwhile(threads):
    company = Company(4)
    ends = threading.Event()
    done: list[str] = []

    def be_alone(name: str) -> None:
        with company.together():
            wait_until(lambda: company._num_running == 3 or done or company._num_to_be_alone)
            with company.alone():
                assert company._num_running == 1
                done.append(name)
            done.append(name)

    def stay() -> None:
        with company.together():
            ends.wait()
            assert not done
            done.append("stayed")

    def begin() -> None:
        with company.together():
            done.append("begun")

    others = [threads.submit(stay), threads.submit(be_alone, "a"), threads.submit(be_alone, "b")]
    wait_until(lambda: company._num_to_be_alone == 2 and company._num_running == 1)
    late = threads.submit(begin)
    assert not done
    ends.set()
    for future in (*others, late):
        future.result(30)
    assert done in (["stayed", *"aabb", "begun"], ["stayed", *"bbaa", "begun"])
    assert company._num_running == company._num_to_be_alone == 0


def test_batch_that_fails_alone_leaves_the_others_to_go_on(threads):
    company = Company(2)
    with pytest.raises(ValueError, match="as asked"), company.together(), company.alone():
        raise ValueError("as asked")
    with company.together(), company.alone():
        pass
    assert company._num_running == company._num_to_be_alone == 0
