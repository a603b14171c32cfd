import numpy as np
import pytest

from app.clouds import formats
from app.clouds.cloud import Cloud
from app.errors import BadCloud, TooLarge

TURN = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [100, 200, 30, 1]], float)  # x to y, y to -x, then shifted
ROWS = ["1 2 3 0.5 10 20 30", "0 0 0 0.5 0 0 0", "4 5 6 1 40 50 60", "7 8 9 0 70 80 90"]


def scan(pose: np.ndarray = TURN, rows: list[str] = ROWS, size: tuple[int, int] = (2, 2)) -> str:
    matrix = [" ".join(map(str, row)) for row in pose.tolist()]
    return "\n".join([*map(str, size), "0 0 0", "1 0 0", "0 1 0", "0 0 1", *matrix, *rows, ""])


def read(text: str, **options) -> Cloud:
    return formats.read(memoryview(text.encode()), **options)


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("options", [{}, {"filename": "a.ptx"}, {"filename": "a.txt"}, {"format": "ptx"}])
def test_points_are_moved_by_the_pose_and_gaps_are_kept(eol, options):
    found = read(scan().replace("\n", eol), **options)
    assert found.format == "ptx"
    assert found.xyz[[0, 2, 3]].tolist() == [[98, 201, 33], [95, 204, 36], [92, 207, 39]]
    assert np.isnan(found.xyz[1]).all()
    assert found.rgb.tolist() == [[10, 20, 30], [0, 0, 0], [40, 50, 60], [70, 80, 90]]
    assert (found.intensity.tolist(), found.intensity_scale) == ([0.5, 0.5, 1, 0], 1)
    assert found.warnings == ["Points that the scanner did not measure (0 0 0): 1."]


def test_several_scans_each_by_its_own_pose():
    grey = [row.rsplit(" ", 3)[0] for row in ROWS]
    found = read(scan() + "\n" + scan(np.eye(4), grey) + scan(np.eye(4), grey[2:], (1, 2)))
    assert found.extra["scan"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert found.xyz[4:6].tolist()[0] == [1, 2, 3]
    assert found.xyz[8:].tolist() == [[4, 5, 6], [7, 8, 9]]
    assert found.rgb[:4].tolist() == [[10, 20, 30], [0, 0, 0], [40, 50, 60], [70, 80, 90]]
    assert not found.rgb[4:].any()
    assert any("colors that are not finite: 6" in warning for warning in found.warnings)


def test_a_matrix_written_for_columns():
    assert read(scan(TURN.T)).xyz[0].tolist() == [98, 201, 33]


@pytest.mark.parametrize("pose", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.0, 1, 0, 1])])
def test_a_pose_that_is_none_moves_nothing(pose):
    found = read(scan() + scan(pose))
    assert found.xyz[[0, 4, 7]].tolist() == [[98, 201, 33], [1, 2, 3], [7, 8, 9]]
    assert "The pose of scan 2 of the PTX is none: its points were not moved." in found.warnings


def test_scans_without_points_and_without_intensity():
    empty = scan(rows=[], size=(0, 0))
    found = read(empty + scan() + empty + scan(np.eye(4), ["1 2 3", "4 5 6"], (1, 2)) + empty)
    assert found.extra["scan"].tolist() == [0, 0, 0, 0, 1, 1]
    assert found.xyz[[0, 4, 5]].tolist() == [[98, 201, 33], [1, 2, 3], [4, 5, 6]]
    assert np.isnan(found.intensity[4:]).all()
    assert "1 of 2 scans have no intensity; it is NaN there." in found.warnings


def test_intensities_beyond_one_have_no_scale():
    assert read(scan(rows=["1 2 3 -1200", "4 5 6 900"], size=(1, 2))).intensity_scale is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (scan()[:-9], "Line 14 has 4 columns; expected 7"),
        (scan(rows=ROWS[:3]), "states 4 points, but 3 rows follow: the file is cut short"),
        (scan(size=(100000, 100000)), "10,000,000,000 points; the .* cannot hold them"),
        (scan() + "2\n2\n0 0 0\n", "expected 3 numbers of a scan's header, found ''"),
        (scan() + "what is this\n", "Line 15 of the PTX: expected 1 numbers of a scan's header"),
        (scan(rows=["1000 2000", "3000 4000"], size=(1, 2)), "Line 11 of the PTX has 2 numbers"),
        (scan(rows=["1 2 3 a", "3 4 5 6"], size=(1, 2)), "Line 11, column 4: expected a number, found 'a'"),
        (scan(size=(0, 2), rows=[]), "no points"),
    ],
)
def test_damage_is_told(text, message):
    with pytest.raises(BadCloud, match=message):
        read(text)


def test_more_points_than_allowed():
    with pytest.raises(TooLarge):
        read(scan() + scan(), max_points=7)


def test_channels_can_be_bound():
    assert read(scan(), columns=("intensity:red",)).intensity.tolist() == [10, 0, 40, 70]
