import io
import os

import pytest
from engine_samples import num_open_files

from app.engine.body import Body
from app.errors import NotReady, TooLarge

DATA = os.urandom(3_000_000)


class Trickle(io.RawIOBase):
    """A stream that gives at most 7 bytes a call, and perhaps breaks."""

    def __init__(self, data: bytes, breaks_after: int | None = None):
        self.data, self.given, self.breaks_after = data, 0, breaks_after

    def read(self, size: int = -1) -> bytes:
        if self.breaks_after is not None and self.given >= self.breaks_after:
            raise ConnectionResetError("client went away")
        piece = self.data[self.given : self.given + min(size, 7)]
        self.given += len(piece)
        return piece


def content(body: Body) -> bytes:
    return os.pread(body.fd, body.size + 1, 0)


def file_of(body: Body) -> str:
    return os.readlink(f"/proc/self/fd/{body.fd}")


@pytest.mark.parametrize("memory_bytes", [len(DATA), len(DATA) - 1, 1 << 20, 0])
def test_body_is_whole_wherever_it_is_kept(tmp_path, memory_bytes):
    with Body.from_stream(io.BytesIO(DATA), len(DATA), memory_bytes, tmp_path) as body:
        assert body.size == len(DATA)
        assert content(body) == DATA
        assert ("memfd" in file_of(body)) == (memory_bytes >= len(DATA))
        assert list(tmp_path.iterdir()) == []


def test_large_body_lies_in_the_folder_given(tmp_path):
    with Body.from_stream(io.BytesIO(DATA), len(DATA), 100, tmp_path) as body:
        assert file_of(body).startswith(str(tmp_path))


def test_short_reads_are_no_end():
    with Body.from_stream(Trickle(DATA[:1000]), 1000, 500) as body:
        assert content(body) == DATA[:1000]


def test_empty_body():
    with Body.from_stream(io.BytesIO(), 10, 10) as body:
        assert body.size == 0


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
def test_one_byte_over_the_limit_is_too_large_and_leaves_nothing(tmp_path, memory_bytes):
    before = num_open_files()
    with pytest.raises(TooLarge, match="2999999 bytes"):
        Body.from_stream(io.BytesIO(DATA), len(DATA) - 1, memory_bytes, tmp_path)
    assert num_open_files() == before
    assert list(tmp_path.iterdir()) == []


def test_endless_stream_is_left_after_the_limit():
    with open("/dev/zero", "rb") as endless, pytest.raises(TooLarge):
        Body.from_stream(endless, 5_000_000, 1000)


def test_broken_stream_leaves_nothing(tmp_path):
    before = num_open_files()
    with pytest.raises(ConnectionResetError):
        Body.from_stream(Trickle(DATA[:1000], breaks_after=700), 1000, 100, tmp_path)
    assert num_open_files() == before


def test_missing_spool_folder_is_an_error_and_leaves_nothing(tmp_path):
    before = num_open_files()
    with pytest.raises(FileNotFoundError):
        Body.from_stream(io.BytesIO(DATA), len(DATA), 100, tmp_path / "missing")
    assert num_open_files() == before


def test_full_disk_says_come_back():
    body = Body(os.open("/dev/full", os.O_WRONLY))
    with body, pytest.raises(NotReady, match="no room"):
        body._append(b"x" * 100)
