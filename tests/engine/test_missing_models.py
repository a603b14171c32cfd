import time

import pytest

from app.engine.missing_models import FIRST_RETRY_S, MAX_RETRY_S, REST, MissingModels
from app.engine.model_card import ModelCard


def card(name: str, served: bool) -> ModelCard:
    return ModelCard(name, f"/models/{name}", "", "", 0, [], [], None, 0, served=served)


@pytest.fixture
def clock(monkeypatch):
    """The time in a list, to be moved."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def waits(missing: MissingModels, clock: list[float]) -> float:
    """Seconds until it is due."""
    begin = clock[0]
    while not missing.is_due:
        clock[0] += 0.5
    return clock[0] - begin


def test_models_are_tried_again_ever_later_until_they_are_served(clock):
    missing = MissingModels()
    found = []
    for _ in range(8):
        missing.update([card("a", True), card("b", False)], ())
        found.append(waits(missing, clock))
    assert missing.names == ["b"]
    assert found[:3] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
    assert found[-1] == MAX_RETRY_S
    missing.update([card("a", True), card("b", False)], (), tried_s=7.0)
    assert waits(missing, clock) == 7.0 * REST
    missing.update([card("a", True), card("b", True)], ())
    assert missing.names == []
    assert not missing.is_due


def test_what_was_served_is_expected_back_and_what_was_unloaded_is_not(clock):
    missing = MissingModels()
    missing.update([card("a", True), card("b", True), card("c", True)], ())
    missing.update([card("a", True)], ("c",))
    assert missing.names == ["b"]
