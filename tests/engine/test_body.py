import io
import os
import resource

import pytest

from app.engine.body import Body, Spool, Storage, check_spool_dir
from app.engine.budget import MemoryBudget
from app.errors import BadRequest, NoRoom, NotReady, TooLarge
from tests.engine.engine_samples import num_open_files

DATA = os.urandom(3_000_000)


class Trickle:
    """A stream that gives at most ``most`` bytes a call, and perhaps breaks."""

    def __init__(self, data: bytes, most: int = 7, breaks_after: int | None = None):
        self.data, self.most, self.given, self.breaks_after = data, most, 0, breaks_after

    def readinto(self, buffer: memoryview) -> int:
        if self.breaks_after is not None and self.given >= self.breaks_after:
            raise ConnectionResetError("client went away")
        piece = self.data[self.given : self.given + min(len(buffer), self.most)]
        buffer[: len(piece)] = piece
        self.given += len(piece)
        return len(piece)


def content(body: Body) -> bytes:
    return os.pread(body.fd, body.size + 1, 0)


def file_of(body: Body) -> str:
    return os.readlink(f"/proc/self/fd/{body.fd}")


@pytest.mark.parametrize("memory_bytes", [len(DATA), len(DATA) - 1, 1 << 20, 0])
def test_body_is_whole_wherever_it_is_kept(tmp_path, memory_bytes):
    with Body.from_stream(io.BytesIO(DATA), len(DATA), Storage(memory_bytes, tmp_path)) as body:
        assert body.size == len(DATA)
        assert content(body) == DATA
        assert ("memfd" in file_of(body)) == (memory_bytes >= len(DATA))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("memory_bytes", [len(DATA), len(DATA) - 1, 1 << 20, 0])
@pytest.mark.parametrize("expected", [0, 1000, len(DATA)])
@pytest.mark.parametrize("most", [4097, len(DATA)])
def test_body_in_pieces_of_any_size_is_whole_wherever_it_is_kept(tmp_path, memory_bytes, expected, most):
    before = num_open_files()
    with Body.from_stream(Trickle(DATA, most), len(DATA), Storage(memory_bytes, tmp_path), expected) as body:
        assert body.size == len(DATA)
        assert content(body) == DATA
        assert ("memfd" in file_of(body)) == (memory_bytes >= len(DATA))
        assert num_open_files() == before + 1


@pytest.mark.parametrize(("total_bytes", "large"), [(4 * len(DATA), True), (len(DATA), False)])
def test_large_pieces_are_counted_while_they_are_read_and_not_taken_where_memory_is_short(
    monkeypatch, total_bytes, large
):
    monkeypatch.setattr("app.engine.body._PIECE_BYTES", 2 << 20)
    budget, seen = MemoryBudget(total_bytes), []

    class Watched(Trickle):
        def readinto(self, buffer: memoryview) -> int:
            seen.append((len(buffer), budget.used_bytes))
            return super().readinto(buffer)

    with Body.from_stream(Watched(DATA, 1 << 20), len(DATA), Storage(len(DATA), None, budget), len(DATA)) as body:
        assert content(body) == DATA
        is_in_memory = "memfd" in file_of(body)
        assert budget.used_bytes == len(DATA) * is_in_memory
    assert seen[0] == ((2 << 20, 2 << 20) if large else (1 << 18, 0))
    assert budget.used_bytes == 0


def test_body_that_memory_will_not_hold_is_on_disk_from_the_beginning(tmp_path):
    with Spool(Storage(1000, tmp_path), 1001) as spool:
        spool.write(b"begin")
        with spool.take() as body:
            assert file_of(body).startswith(str(tmp_path))
            assert content(body) == b"begin"


def test_large_body_lies_in_the_folder_given(tmp_path):
    with Body.from_stream(io.BytesIO(DATA), len(DATA), Storage(100, tmp_path)) as body:
        assert file_of(body).startswith(str(tmp_path))


def test_short_reads_are_no_end():
    with Body.from_stream(Trickle(DATA[:1000]), 1000, Storage(500)) as body:
        assert content(body) == DATA[:1000]


def test_empty_body():
    with Body.from_stream(io.BytesIO(), 10, Storage(10)) as body:
        assert body.size == 0


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
def test_one_byte_over_the_limit_is_too_large_and_leaves_nothing(tmp_path, memory_bytes):
    before = num_open_files()
    with pytest.raises(TooLarge, match="2999999 bytes"):
        Body.from_stream(io.BytesIO(DATA), len(DATA) - 1, Storage(memory_bytes, tmp_path))
    assert num_open_files() == before
    assert list(tmp_path.iterdir()) == []


def test_endless_stream_is_left_after_the_limit():
    with open("/dev/zero", "rb") as endless, pytest.raises(TooLarge):
        Body.from_stream(endless, 5_000_000, Storage(1000))


def test_broken_stream_leaves_nothing(tmp_path):
    before = num_open_files()
    with pytest.raises(ConnectionResetError):
        Body.from_stream(Trickle(DATA[:1000], breaks_after=700), 1000, Storage(100, tmp_path))
    assert num_open_files() == before


def test_missing_spool_folder_is_told_and_leaves_nothing(tmp_path):
    before = num_open_files()
    with pytest.raises(NoRoom, match="POINTSERVE_SPOOL_DIR") as caught:
        Body.from_stream(io.BytesIO(DATA), len(DATA), Storage(100, tmp_path / "missing"))
    assert caught.value.retry_after_s
    assert num_open_files() == before


def test_full_disk_says_come_back(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(NoRoom, match="disk is full"):
        Body.from_stream(io.BytesIO(DATA), len(DATA), Storage(100, tmp_path))


def test_lack_of_descriptors_says_come_back():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) - 1, before[1]))
    try:
        with pytest.raises(NotReady):
            [Spool(Storage(100)) for _ in range(1000)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("memory_bytes", [0, 5, 100, 1000])
def test_spool_is_a_file_that_is_written_anywhere(tmp_path, memory_bytes):
    with Spool(Storage(memory_bytes, tmp_path)) as spool:
        spool.write(b"x" * 100)
        spool.seek(10)
        spool.write(b"y" * 10)
        assert spool.tell() == 20
        spool.seek(0)
        assert spool.read() == b"x" * 10 + b"y" * 10 + b"x" * 80
        with spool.take() as body:
            assert (body.size, len(content(body))) == (100, 100)


@pytest.mark.parametrize("folder", ["missing", "a_file"])
def test_folder_that_cannot_hold_bodies_is_refused(tmp_path, folder):
    (tmp_path / "a_file").write_bytes(b"")
    check_spool_dir(tmp_path)
    check_spool_dir(None)
    with pytest.raises(BadRequest, match=r"^POINTSERVE_SPOOL_DIR="):
        check_spool_dir(tmp_path / folder)
