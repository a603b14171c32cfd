import os
import queue
from collections.abc import Iterator

import pytest

from app.engine import hub as hub_module
from app.engine.channel import Channel, close_all
from app.engine.hub import Hub
from app.engine.protocol import Failure
from tests.engine.engine_samples import wait_until


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub("test")
    hub.start()
    yield hub
    hub.stop()


def channels() -> tuple[Channel, Channel]:
    ours, theirs = Channel.pair()
    return ours, Channel(theirs)


def test_messages_of_all_channels_arrive_until_each_ends(hub):
    found: queue.SimpleQueue[tuple[int, str, bytes]] = queue.SimpleQueue()

    def take(number: int, message: Failure, fds: list[int]) -> None:
        found.put((number, message.detail, os.pread(fds[0], 9, 0) if fds else b""))
        close_all(fds)

    ends, gone = [], []
    for number in range(3):
        ours, theirs = channels()
        gone.append(hub.add(ours, lambda message, fds, number=number: take(number, message, fds)))
        ends.append((ours, theirs))
    file = os.memfd_create("test")
    os.write(file, b"content")
    for number in (2, 0, 2):
        ends[number][1].send(Failure("Problem", str(number)), [file])
    os.close(file)
    assert sorted(found.get(timeout=30) for _ in range(3)) == [
        (0, "0", b"content"),
        (2, "2", b"content"),
        (2, "2", b"content"),
    ]
    ends[2][1].close()
    assert gone[2].wait(30)
    ends[2][0].close()
    ends[1][1].send(Failure("Problem", "still"))
    assert found.get(timeout=30) == (1, "still", b"")
    assert not gone[1].is_set()
    for ours, _ in ends[:2]:
        ours.shutdown()
    assert all(event.wait(30) for event in gone)
    for ours, theirs in ends:
        ours.close()
        theirs.close()


def test_message_that_does_not_go_on_and_one_that_meets_a_bug_end_their_channels_alone(hub, monkeypatch):
    monkeypatch.setattr(hub_module, "RECEIVE_S", 0.1)
    taken = []

    def fail(message: object, fds: list[int]) -> None:
        raise ZeroDivisionError

    def keep(message: object, fds: list[int]) -> None:
        taken.append(message)

    ends = [channels() for _ in range(3)]
    gone = [hub.add(ours, take) for (ours, _), take in zip(ends, (fail, keep, keep), strict=True)]
    ends[0][1].send(Failure("Problem", "bug"))
    assert gone[0].wait(30)
    ends[1][1]._socket.send(b"\x00")
    assert gone[1].wait(30)
    ends[2][1].send(Failure("Problem", "well"))
    wait_until(lambda: taken == [Failure("Problem", "well")])
    assert not gone[2].is_set()
    for ours, theirs in ends:
        theirs.close()
        ours.shutdown()
    assert gone[2].wait(30)
    for ours, _ in ends:
        ours.close()
