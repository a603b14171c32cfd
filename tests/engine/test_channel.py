import array
import math
import os
import socket
import struct
import threading

import pytest

from app.engine.channel import (
    KINDS,
    MAX_DESCRIPTORS,
    MAX_MESSAGE_BYTES,
    Channel,
    ChannelError,
    MessageTooLarge,
    close_all,
)
from app.engine.model_card import ModelCard
from app.engine.protocol import CloudMeta, Decode, Decoded, Failure, Ready
from app.errors import PROBLEMS, Problem, TooLarge
from app.options import Options
from tests.engine.engine_samples import in_seconds, num_open_files


@pytest.fixture
def ends():
    ours, theirs = Channel.pair()
    theirs = Channel(theirs)
    yield ours, theirs
    ours.close()
    theirs.close()


def memory_file(content: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, content)
    return fd


def test_message_and_descriptors_arrive_as_they_were_sent(ends):
    ours, theirs = ends
    message = Decode(Options(filename="a.bin", columns=("x", "y", "z"), mode="exact", timeout_s=2.5), 10)
    files = [memory_file(b"one"), memory_file(b"two")]
    ours.send(message, files)
    received, fds = theirs.receive(in_seconds(5))
    assert received == message
    assert [os.pread(fd, 10, 0) for fd in fds] == [b"one", b"two"]
    assert not any(os.get_inheritable(fd) for fd in fds)
    close_all([*files, *fds])


@pytest.mark.parametrize("kind", PROBLEMS.values())
def test_problem_arrives_as_what_it_was(ends, kind):
    ours, theirs = ends
    problem = kind("what", retry_after_s=1.5, columns=["a", "b"], options={"mode": "why"})
    ours.send(Failure.of(problem, "7"))
    received, _ = theirs.receive(in_seconds(5))
    assert received.job_id == "7"
    assert type(received.problem) is kind
    assert vars(received.problem) == vars(problem)


def test_problem_of_one_part_of_the_program_arrives_as_what_all_know(ends):
    ours, theirs = ends
    ours.send(Failure.of(MessageTooLarge("what")))
    ours.send(Failure("Unheard", "of"))
    assert type(theirs.receive(in_seconds(5))[0].problem) is TooLarge
    assert type(theirs.receive(in_seconds(5))[0].problem) is Problem


@pytest.mark.parametrize("number", [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, float("inf"), float("-inf")])
def test_numbers_arrive_to_the_last_bit(ends, number):
    ours, theirs = ends
    frame = (number, -number, 1e16 + 2, math.nan, 0.0, 1.0)
    ours.send(Decoded(2**60 + 1, [], CloudMeta("las", intensity_scale=number, frame=frame)))
    received, _ = theirs.receive(in_seconds(5))
    assert received.num_points == 2**60 + 1
    assert received.meta.intensity_scale.hex() == number.hex()
    assert [value.hex() for value in received.meta.frame] == [value.hex() for value in frame]


def test_message_larger_than_the_socket_buffer_arrives_whole(ends):
    ours, theirs = ends
    classes = [{"id": i, "name": "class " * 50, "color": [1, 2, 3], "asprs": None} for i in range(200)]
    cards = [ModelCard(f"m{i}", "/m", "semseg", "SpUNet", 200, classes, ["coord"], 0.02, 1) for i in range(40)]
    message = Ready("cpu", "x", 2, cards)
    file = memory_file(b"kept")
    sender = threading.Thread(target=ours.send, args=(message, [file]))
    sender.start()
    received, fds = theirs.receive(in_seconds(20))
    sender.join()
    assert received == message
    assert os.pread(fds[0], 10, 0) == b"kept"
    close_all([file, *fds])


def test_message_in_small_pieces_arrives_whole(ends):
    ours, theirs = ends
    payload = b'{"kind": "BadCloud", "detail": "broken"}'
    data = struct.pack("!IBB", len(payload), 0, KINDS.index(Failure)) + payload
    for i in range(len(data)):
        ours._socket.send(data[i : i + 1])
    assert theirs.receive(in_seconds(5))[0] == Failure("BadCloud", "broken")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (KINDS.index(Failure), b"not json"),
        (KINDS.index(Failure), b"[]"),
        (len(KINDS), b"{}"),
        (255, b"{}"),
        (KINDS.index(Failure), b'{"kind": 7, "detail": "x"}'),
        (KINDS.index(Failure), b'{"detail": "x"}'),
        (KINDS.index(Decode), b'{"options": {"mode": "slow"}, "max_points": 1}'),
        (KINDS.index(Decoded), b'{"num_points": 1, "layout": [{"name": "xyz"}], "meta": {"format": "las"}}'),
        (KINDS.index(Failure), b"[" * 100_000),
        (KINDS.index(Failure), b"\xff\xfe"),
        (KINDS.index(Failure), b'{"kind": "BadCloud", "detail": "\xff"}'),
        (KINDS.index(Failure), b""),
    ],
)
def test_nonsense_breaks_the_channel_and_leaks_nothing(ends, kind, payload):
    ours, theirs = ends
    file = memory_file(b"")
    before = num_open_files()
    header = struct.pack("!IBB", len(payload), 1, kind)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
    ours._socket.sendmsg([header + payload], rights)
    with pytest.raises(ChannelError):
        theirs.receive(in_seconds(5))
    assert num_open_files() == before
    os.close(file)


def test_announced_size_is_bounded(ends):
    ours, theirs = ends
    ours._socket.send(struct.pack("!IBB", MAX_MESSAGE_BYTES + 1, 0, 0))
    with pytest.raises(ChannelError):
        theirs.receive(in_seconds(5))


def test_too_many_descriptors_break_the_channel_and_leak_nothing(ends):
    ours, theirs = ends
    files = [memory_file(b"") for _ in range(MAX_DESCRIPTORS + 1)]
    before = num_open_files()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    ours._socket.sendmsg([struct.pack("!IBB", 2, 9, 0) + b"{}"], rights)
    with pytest.raises(ChannelError):
        theirs.receive(in_seconds(5))
    assert num_open_files() == before
    close_all(files)


def test_other_side_gone(ends):
    ours, theirs = ends
    ours.close()
    with pytest.raises(ChannelError):
        theirs.receive(in_seconds(5))
    with pytest.raises(ChannelError):
        theirs.send(Failure("Problem", "x"))


def test_silence_ends_at_the_deadline(ends):
    with pytest.raises(TimeoutError):
        ends[1].receive(in_seconds(0.05))


def test_shutdown_wakes_a_waiting_receiver(ends):
    caught = []

    def receive():
        try:
            ends[1].receive()
        except ChannelError as error:
            caught.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    ends[1].shutdown()
    thread.join(10)
    assert caught
