"""Places and connections follow from the limit of descriptors."""

import logging
import os
import resource

import pytest

from app.errors import NotReady
from app.http.front.descriptors import A_READER, A_REQUEST, ELSE, check_left, fitted, raise_limit
from app.settings import Settings


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch):
    """Has this process state another limit."""

    def set_limit(soft: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))

    return set_limit


@pytest.mark.parametrize("soft", [128, 256, 512, 1024, 4096, 65536])
@pytest.mark.parametrize("queue_requests", [1, 64, 1000])
def test_all_together_fit(limit, soft: int, queue_requests: int):
    limit(soft)
    settings = fitted(Settings(queue_requests=queue_requests))
    needed = settings.max_connections + A_REQUEST * settings.queue_requests + A_READER * settings.readers + ELSE
    assert needed <= soft
    assert settings.queue_requests >= 1


def test_a_usual_limit_costs_no_place(limit, caplog: pytest.LogCaptureFixture):
    limit(1024)
    with caplog.at_level(logging.WARNING):
        settings = fitted(Settings())
    assert settings.queue_requests == Settings().queue_requests
    assert 200 < settings.max_connections < Settings().max_connections
    assert "POINTSERVE_MAX_CONNECTIONS is" in caplog.text
    limit(65536)
    assert fitted(Settings()) == Settings()


def test_the_limit_is_raised_as_far_as_it_may():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1, before[1]))
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(before[1], 65536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("num_free", [2 * A_REQUEST - 1, 2 * A_REQUEST])
@pytest.mark.parametrize("stay", ["low", "high"])
def test_descriptors_for_two_requests_are_needed_wherever_they_are_free(num_free: int, stay: str):
    before, taken = resource.getrlimit(resource.RLIMIT_NOFILE), list[int]()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        with pytest.raises(OSError, match="Too many open files"):
            taken.extend(os.dup(2) for _ in range(512))
        for _ in range(num_free):
            os.close(taken.pop(0 if stay == "high" else -1))
        if num_free < 2 * A_REQUEST:
            with pytest.raises(NotReady):
                check_left()
        else:
            check_left()
        taken.extend(os.dup(2) for _ in range(num_free))  # it keeps none, and frees none
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(2)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
