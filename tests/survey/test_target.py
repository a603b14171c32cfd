"""Answers whose places exclude each other."""

import pytest

from app.errors import Conflict
from app.survey import target


@pytest.mark.parametrize("names", [("a.laz", "a.laz/b.laz"), ("a.laz/b.laz", "a.laz")])
def test_a_file_that_would_be_a_folder_too_is_no_full_disk(tmp_path, names):
    first, second = (str(tmp_path / name) for name in names)
    target.write(first, [b"1"])
    with pytest.raises(Conflict, match="cannot be written"):
        target.write(second, [b"2"])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / names[0]]
