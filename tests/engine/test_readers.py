import fcntl
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from app.clouds.cloud import ClassInfo, Segmentation, SegmentationMeta
from app.clouds.summary import Summary
from app.engine import channel, reader_process
from app.engine.body import Body, Storage
from app.engine.channel import Channel
from app.engine.packed import Packed, pack_segmentation, unpack_cloud
from app.engine.protocol import Decode, Failure
from app.engine.reader_request import DecodeRequest, EncodeRequest
from app.engine.readers import ReaderPool
from app.errors import BadCloud, BadRequest, DeadlineExceeded, NoRoom, NotReady, TooLarge, UnsupportedFormat
from app.options import Options
from tests.clouds.las_samples import las_bytes
from tests.engine.engine_samples import (
    body_of,
    is_running,
    npy_bytes,
    num_open_files,
    reads_a_body,
    text_bytes,
    wait_until,
    within,
)

MAX_POINTS = 10_000_000
LONG_POINTS = 1_500_000
LONG_TEXT = text_bytes(LONG_POINTS)


@pytest.fixture(scope="module")
def pool(settings):
    """One reader, shared by the tests of this module."""
    yield from started(settings)


@pytest.fixture(autouse=True)
def _ready(pool):
    become_ready(pool)


def started(settings):
    pool = ReaderPool(settings, settings.reader_memory_mib or 4096)
    pool.start()
    become_ready(pool)
    yield pool
    pool.stop()


def become_ready(pool: ReaderPool) -> None:
    """Have a file read, and wait until the reader has given its memory back, which it does after it has answered."""
    assert num_points(pool, npy_bytes()) == 500
    wait_until(lambda: not any(reads_a_body(pid) for pid in pool.pids))


def decode(pool: ReaderPool, body: Body, timeout_s: float = 60.0, max_points: int = MAX_POINTS, **options) -> Packed:
    cloud, _ = pool.run(DecodeRequest(body, Options(**options), max_points), within(timeout_s))
    return cloud


def num_points(pool: ReaderPool, data: bytes, timeout_s: float = 60.0, **options) -> int:
    with body_of(data) as body, decode(pool, body, timeout_s, **options) as cloud:
        return cloud.num_points


def while_it_reads(pool: ReaderPool, act, times: int = 1) -> int | BaseException:
    """Points of a long file, or how reading it ends, if ``act(pid)`` is done to the first processes that read it."""
    hit: list[int] = []
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(num_points, pool, LONG_TEXT, filename="a.xyz")
        for _ in range(times):
            wait_until(lambda: pool.pids and pool.pids[0] not in hit and reads_a_body(pool.pids[0]), 60)
            hit.append(pool.pids[0])
            act(hit[-1])
        return reading.exception(120) or reading.result()


def test_cloud_holds_what_the_file_holds(pool):
    with body_of(npy_bytes(100, seed=3)) as body, decode(pool, body) as packed:
        cloud = unpack_cloud(packed)
    assert cloud.format == "npy"
    np.testing.assert_array_equal(cloud.xyz, np.load(io.BytesIO(npy_bytes(100, seed=3))))


def test_body_on_disk_is_read_like_one_in_memory(pool, tmp_path):
    with (
        Body.from_stream(io.BytesIO(npy_bytes()), 1 << 30, Storage(100, tmp_path)) as body,
        decode(pool, body) as cloud,
    ):
        assert cloud.num_points == 500


@pytest.mark.parametrize(
    ("data", "options", "problem"),
    [
        (b"", {}, BadCloud),
        (b"\x00\x01 nothing that is known", {}, UnsupportedFormat),
        (b"LASF" + bytes(50), {}, BadCloud),
        (npy_bytes()[:-8], {}, BadCloud),
        (npy_bytes(), {"columns": ("x", "y", "nonsense" * 50)}, BadRequest),
    ],
)
def test_problem_of_a_file_crosses_over_and_costs_no_process(pool, data, options, problem):
    before = pool.pids
    with pytest.raises(problem):
        num_points(pool, data, **options)
    assert pool.pids == before


def test_cloud_over_the_limit_of_points_is_too_large(pool):
    with pytest.raises(TooLarge):
        num_points(pool, npy_bytes(501), max_points=500)


def test_question_that_no_message_can_hold_costs_no_process(pool, monkeypatch):
    lost = pool.num_lost
    with monkeypatch.context() as patch:
        patch.setattr(channel, "MAX_MESSAGE_BYTES", 900)
        with pytest.raises(TooLarge):
            num_points(pool, npy_bytes(), filename="x" * 900)
    assert num_points(pool, npy_bytes()) == 500
    assert pool.num_lost == lost


def test_answer_that_no_message_can_hold_ends_no_process(monkeypatch):
    ours, socket = Channel.pair()
    theirs = Channel(socket)
    before = num_open_files()
    with body_of(npy_bytes()) as body:
        ours.send(Decode(Options(), MAX_POINTS), [body.fd])

        def fail(request, fds):
            return Failure("BadCloud", "x" * 900), [os.dup(fds[0])], None

        monkeypatch.setitem(reader_process.HANDLERS, Decode, fail)
        monkeypatch.setattr(channel, "MAX_MESSAGE_BYTES", 900)
        reader_process.serve(theirs, 100)
    answer, fds = ours.receive(within(10).at_s)
    assert (answer.kind, fds, num_open_files()) == ("TooLarge", [], before)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_file_whose_process_dies_is_read_by_a_fresh_one(pool, end):
    before = pool.num_lost
    assert while_it_reads(pool, lambda pid: os.kill(pid, end)) == LONG_POINTS
    assert pool.num_lost == before + 1


@pytest.mark.parametrize(
    ("end", "problem"), [(signal.SIGKILL, NotReady), (signal.SIGSTOP, NotReady), (signal.SIGSEGV, BadCloud)]
)
def test_file_is_blamed_only_for_what_it_may_have_done_twice(pool, end, problem):
    before = pool.num_lost
    error = while_it_reads(pool, lambda pid: os.kill(pid, end), times=2)
    assert isinstance(error, problem)
    assert "failed twice" in error.detail
    assert problem is BadCloud or error.retry_after_s
    assert num_points(pool, npy_bytes()) == 500
    assert pool.num_lost == before + 2


def test_stopped_process_is_replaced_long_before_its_time_is_over(pool):
    stuck = pool.pids[0]
    assert while_it_reads(pool, lambda pid: os.kill(pid, signal.SIGSTOP)) == LONG_POINTS
    assert not is_running(stuck)


def test_process_that_computes_too_long_is_ended_and_the_file_blamed(settings, monkeypatch):
    monkeypatch.setattr(
        "app.engine.reader.BUSY_SHARE", 0.02
    )  # on a busy machine a reader gets less than half of its time
    for pool in started(settings.model_copy(update={"reader_timeout_s": 0.3})):
        stuck = pool.pids[0]
        with pytest.raises(BadCloud, match=r"took longer than 0.3 s"):
            num_points(pool, LONG_TEXT, filename="a.xyz")
        assert not is_running(stuck)
        assert num_points(pool, npy_bytes()) == 500


def test_process_that_is_kept_from_computing_is_no_fault_of_the_file(settings, monkeypatch):
    monkeypatch.setattr("app.engine.reader.STOPPED_S", 1e9)  # what holds it up cannot be seen
    for pool in started(settings.model_copy(update={"reader_timeout_s": 8.0})):
        error = while_it_reads(pool, lambda pid: os.kill(pid, signal.SIGSTOP), times=2)
        assert isinstance(error, NotReady)
        assert "took longer than 8 s" in error.detail


def test_time_of_the_request_bounds_reading_and_waiting(pool):
    os.kill(pool.pids[0], signal.SIGSTOP)
    with ThreadPoolExecutor() as threads:
        both = [threads.submit(num_points, pool, npy_bytes(), 0.3) for _ in range(2)]
        assert all(isinstance(one.exception(), DeadlineExceeded) for one in both)
    assert num_points(pool, npy_bytes()) == 500


def test_file_that_needs_more_memory_than_allowed_is_refused(settings):
    for pool in started(settings.model_copy(update={"reader_memory_mib": 100})):
        with pytest.raises(BadCloud, match="memory"):
            num_points(pool, npy_bytes(3_000_000))
        assert num_points(pool, npy_bytes()) == 500


@pytest.mark.parametrize("cores", [1, 64])
def test_the_limit_of_memory_means_as_much_on_any_number_of_cores(settings, monkeypatch, cores):
    monkeypatch.setattr("app.engine.reader.usable_cores", lambda: cores)
    laz = las_bytes(True, point_format=7, num_points=160_000)
    for pool in started(settings.model_copy(update={"reader_memory_mib": 64})):
        assert num_points(pool, laz) == 160_000
        with pytest.raises(BadCloud, match="memory"):
            num_points(pool, npy_bytes(5_000_000))


ARENAS = """
import ctypes, threading
from app.engine.reader_process import limit_memory
malloc = ctypes.CDLL(None).malloc
malloc.restype = ctypes.c_void_p
limited, taken, together = threading.Event(), [], threading.Barrier(5)
def take():
    malloc(100)  # from here on this thread has an arena of its own, which holds 64 MiB of address space
    together.wait()
    limited.wait()
    while malloc(60_000):
        taken.append(60_000)
threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
together.wait()
limit_memory(48)
limited.set()
for thread in threads:
    thread.join()
print(sum(taken) / 2**20)
"""


def test_threads_with_arenas_of_their_own_take_no_more_than_the_limit():
    environment = os.environ | {"MALLOC_ARENA_MAX": "5"}
    child = subprocess.run([sys.executable, "-c", ARENAS], env=environment, capture_output=True, text=True, check=True)
    assert 24 < float(child.stdout) < 52  # with what the arenas had already


BUSY = """
import hashlib, threading, time
from app.engine.reader_process import others_wait
together, end = threading.Barrier(2), threading.Event()
def wait():
    together.wait()
    end.wait()
thread = threading.Thread(target=wait)
thread.start()
together.wait()
while not others_wait():  # it has passed the barrier and has not come to the event
    time.sleep(0.001)
end.set()
thread.join()
block = bytes(1 << 28)
thread = threading.Thread(target=lambda: hashlib.sha256(block))
thread.start()
seen = []
while thread.is_alive():
    seen.append(others_wait())
print(sum(seen) < len(seen) / 2, others_wait())
"""


def test_a_thread_that_works_is_waited_for():
    child = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, check=True)
    assert child.stdout.split() == ["True", "True"]


def test_decoders_put_files_where_large_bodies_go(settings, tmp_path):
    """Those of E57 alone put files anywhere; if the folder is gone, there is no room."""
    pye57 = pytest.importorskip("pye57")
    with pye57.E57(str(tmp_path / "a.e57"), mode="w") as file:
        file.write_scan_raw({f"cartesian{axis}": np.arange(9.0) for axis in "XYZ"})
    data, spool_dir = (tmp_path / "a.e57").read_bytes(), tmp_path / "spool"
    spool_dir.mkdir()
    for pool in started(settings.model_copy(update={"spool_dir": spool_dir})):
        assert num_points(pool, data) == 9
        spool_dir.rmdir()
        with pytest.raises(NoRoom, match="POINTSERVE_SPOOL_DIR"):
            num_points(pool, data)


@pytest.mark.parametrize(("log_level", "shown"), [("info", True), ("error", False)])
def test_readers_log_as_much_as_the_settings_say(settings, capfd, log_level, shown):
    for pool in started(settings.model_copy(update={"log_level": log_level})):
        with pytest.raises(BadCloud, match="E57"):
            num_points(pool, b"ASTM-E57" + bytes(100))
    assert ("reader INFO" in capfd.readouterr().err) == shown


def test_process_that_died_idle_costs_nothing_but_a_line_in_the_log(pool, caplog):
    pid = pool.pids[0]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
    assert num_points(pool, npy_bytes()) == 500
    (line,) = [record for record in caplog.records if str(pid) in record.getMessage()]
    assert line.levelname == "WARNING"
    assert "was ended by SIGKILL" in line.getMessage()


def test_first_request_may_come_long_after_the_start(settings, monkeypatch):
    monkeypatch.setattr("app.engine.reader.START_S", 0.0)
    pool = ReaderPool(settings, settings.reader_memory_mib or 4096)
    pool.start()
    try:
        wait_until(lambda: resource.prlimit(pool.pids[0], resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY)  # is up
        assert num_points(pool, npy_bytes()) == 500
        assert pool.num_lost == 0
    finally:
        pool.stop()


def test_signals_of_the_terminal_are_left_to_the_parent(pool):
    before = pool.pids
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(before[0], number)
    assert num_points(pool, npy_bytes()) == 500
    assert pool.pids == before


def test_requests_wait_for_a_reader(pool):
    before = pool.pids
    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda n: num_points(pool, npy_bytes(n)), range(100, 120)))
    assert counts == list(range(100, 120))
    assert pool.pids == before


def test_readers_work_at_the_same_time(settings):
    for pool in started(settings.model_copy(update={"readers": 2})):
        with ThreadPoolExecutor() as threads:
            readings = [threads.submit(num_points, pool, LONG_TEXT, filename="a.xyz") for _ in range(2)]
            wait_until(lambda pool=pool: all(reads_a_body(pid) for pid in pool.pids))
            assert [reading.result() for reading in readings] == [LONG_POINTS] * 2


def test_process_that_keeps_memory_is_replaced_between_two_files(settings, monkeypatch):
    for pool in started(settings):
        before = pool.pids
        assert num_points(pool, npy_bytes()) == 500
        assert pool.pids == before
        monkeypatch.setattr("app.engine.reader.GROWTH_SHARE", 1e9)
        assert num_points(pool, npy_bytes()) == 500
        assert pool.pids != before
        assert not is_running(before[0])
        assert pool.num_lost == 0


def test_stopping_ends_processes_and_requests(settings):
    for pool in started(settings):
        pid = pool.pids[0]
        with ThreadPoolExecutor() as threads:
            reading = threads.submit(num_points, pool, LONG_TEXT, filename="a.xyz")
            wait_until(lambda pid=pid: reads_a_body(pid))
            waiting = threads.submit(num_points, pool, npy_bytes())
            pool.stop()
            assert isinstance(reading.exception(), NotReady)
            assert isinstance(waiting.exception(), NotReady)
    assert not is_running(pid)


def test_no_descriptor_is_left_behind(pool):
    before = num_open_files()
    for i in range(50):
        if i % 25 == 0:
            os.kill(pool.pids[0], signal.SIGKILL)
        with suppress(BadCloud):
            num_points(pool, npy_bytes() if i % 2 else b"LASF" + bytes(50))
    num_points(pool, npy_bytes())
    assert num_open_files() == before


def test_answer_is_written_with_or_without_the_source(pool):
    header = ["ply", "format ascii 1.0", "comment keep me", "element vertex 2"]
    header += ["property float x", "property float y", "property float z", "end_header"]
    ply = "\n".join([*header, "1 2 3", "4 5 6", ""]).encode()
    classes = [ClassInfo(0, "a", (1, 2, 3)), ClassInfo(1, "b", (4, 5, 6))]
    segmentation = pack_segmentation(Segmentation(np.array([0, 1], np.int32), SegmentationMeta(classes, model="m")))
    with body_of(ply) as body, decode(pool, body) as cloud, segmentation:
        for output, source in (("ply", body), ("npy", None), ("json", None)):
            with pool.run(EncodeRequest(output, cloud, segmentation, source), within(60)) as file:
                content = os.pread(file.fd, file.size + 1, 0)
            assert len(content) == file.size
            assert (b"keep me" in content) == (output == "ply")


@pytest.fixture
def answer(pool):
    """A cloud of three points and labels for it."""
    classes = [ClassInfo(0, "a", (1, 2, 3)), ClassInfo(1, "b", (4, 5, 6))]
    segmentation = Segmentation(np.array([0, 1, 1], np.int32), SegmentationMeta(classes))
    with body_of(npy_bytes(3)) as body, decode(pool, body) as cloud, pack_segmentation(segmentation) as packed:
        yield cloud, packed


def test_answer_is_written_into_a_file_of_who_asks_and_summed_up(pool, answer, tmp_path):
    with pool.run(EncodeRequest("json", *answer), within(60)) as file:
        expected = b"".join(file.chunks())
        assert (file.sha256, file.summary) == ("", Summary())
    with (tmp_path / "answer").open("w+b") as target:
        target.write(bytes(10 * len(expected)))  # of a process that was lost over it
        target.flush()
        before = num_open_files()
        with pool.run(EncodeRequest("json", *answer, target=target.fileno(), sums_up=True), within(60)) as file:
            assert (file.fd, file.size, file.media_type) == (-1, len(expected), "application/json")
        assert num_open_files() == before
    assert (tmp_path / "answer").read_bytes() == expected
    assert file.sha256 == hashlib.sha256(expected).hexdigest()
    assert file.summary == Summary({0: 1, 1: 2})


def test_file_that_cannot_be_written_is_an_error_of_who_asks_and_costs_no_process(pool, answer):
    full = os.memfd_create("full", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(full, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    pids = pool.pids
    with pytest.raises(PermissionError):
        pool.run(EncodeRequest("json", *answer, target=full, sums_up=True), within(60))
    os.close(full)
    assert num_points(pool, npy_bytes()) == 500
    assert pool.pids == pids


def test_readers_outlive_the_thread_that_started_them(settings):
    pool = ReaderPool(settings, settings.reader_memory_mib or 4096)
    thread = threading.Thread(target=pool.start)
    thread.start()
    thread.join()
    before = pool.pids
    assert num_points(pool, npy_bytes()) == 500
    assert pool.pids == before
    assert pool.num_lost == 0
    pool.stop()


def test_reader_is_not_replaced_for_what_it_has_not_given_back_yet(pool):
    before = pool.pids
    with body_of(npy_bytes(5_000_000)) as body:  # more than a reader may keep
        for _ in range(4):
            decode(pool, body).close()
    assert pool.pids == before


def test_busy_readers_die_with_their_parent(tmp_path):
    script = """
import sys
from app.engine.deadline import Deadline
from app.engine.body import Body, Storage
from app.engine.reader_request import DecodeRequest
from app.options import Options
from app.engine.readers import ReaderPool
from app.settings import Settings
pool = ReaderPool(Settings(readers=1), 4096)
pool.start()
print(pool.pids[0], flush=True)
with Body.from_stream(open(sys.argv[1], "rb"), 1 << 30, Storage(1 << 30)) as body:
    while True:
        pool.run(DecodeRequest(body, Options(filename="a.xyz"), 10**9), Deadline.after(60))[0].close()
"""
    (tmp_path / "long.xyz").write_bytes(LONG_TEXT)
    command = [sys.executable, "-c", script, str(tmp_path / "long.xyz")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        wait_until(lambda: reads_a_body(pid))
        parent.kill()
    wait_until(lambda: not is_running(pid))


def test_package_called_app_where_the_user_stands_is_not_imported(settings, tmp_path, monkeypatch):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").write_text("raise SystemExit('the wrong app')")
    monkeypatch.chdir(tmp_path)
    for pool in started(settings):
        assert pool.num_lost == 0
