"""Files that commands write."""

import os
from pathlib import Path

from app.cli.output import write_file


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for data in (b"first", b"second"):
        write_file(tmp_path / "link", data)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_file_of_the_name_with_part_is_left_alone(tmp_path):
    (tmp_path / "tile.laz.part").write_bytes(b"somebody's")
    write_file(tmp_path / "tile.laz", b"whole")
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert contents == {"tile.laz": b"whole", "tile.laz.part": b"somebody's"}


def test_a_file_without_a_name_is_written_to():
    """As the standard output of a process is that another process reads from memory."""
    fd = os.memfd_create("output")
    try:
        write_file(Path(f"/proc/self/fd/{fd}"), b"whole")
        assert os.pread(fd, 10, 0) == b"whole"
    finally:
        os.close(fd)
