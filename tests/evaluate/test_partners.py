from pathlib import Path

import pytest

from app.errors import BadRequest
from app.evaluate.partners import partners


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(found):
    return [(each.name, each.predicted.name) for each in found]


def test_partners_have_the_same_path_but_for_the_ending(tmp_path):
    pred = touch(tmp_path / "pred", "a.las", "deep/a.PLY", "s.pcd.bin", "survey.db", "report.json", ".b.laz.part/b.laz")
    truth = touch(tmp_path / "truth", "a.laz", "deep/a.laz", "s.bin.laz", "s.pcd")
    found, problems = partners(pred, truth)
    assert names(found) == [("a.laz", "a.las"), ("deep/a.laz", "a.PLY"), ("s.pcd", "s.pcd.bin")]
    assert list(problems) == [str(truth / "s.bin.laz")]


def test_copc_is_an_ending_on_both_sides(tmp_path):
    pred = touch(tmp_path / "pred", "a.copc.laz", "b_classified.copc.laz")
    truth = touch(tmp_path / "truth", "a.laz", "b.copc.laz")
    assert names(partners(pred, truth)[0]) == [("a.laz", "a.copc.laz")]
    assert names(partners(pred, truth, "{stem}_classified")[0]) == [("b.copc.laz", "b_classified.copc.laz")]


def test_a_name_that_occurs_once_is_found_in_any_folder(tmp_path):
    pred = touch(tmp_path / "pred", "out/a.laz", "b/c.laz", "d/c.laz")
    truth = touch(tmp_path / "truth", "a.laz", "c.laz")
    found, problems = partners(pred, truth)
    assert names(found) == [("a.laz", "a.laz")]
    assert set(problems) == {str(truth / "c.laz"), str(pred / "b/c.laz"), str(pred / "d/c.laz")}


def test_names_of_a_pattern(tmp_path):
    pred = touch(tmp_path / "pred", "x/a_classified.laz")
    found, problems = partners(pred, touch(tmp_path / "truth", "x/a.laz"), "{stem}_classified")
    assert names(found) == [("x/a.laz", "a_classified.laz")]
    assert not problems


def test_labels_in_a_folder_of_the_truth_are_no_truth(tmp_path):
    truth = touch(tmp_path / "tiles", "a.laz", "labelled/a.laz")
    found, problems = partners(truth / "labelled", truth)
    assert [(each.predicted, each.truth) for each in found] == [(truth / "labelled/a.laz", truth / "a.laz")]
    assert not problems
    assert len(partners(truth, truth)[0]) == 2


def test_two_files_of_one_name_are_told(tmp_path):
    pred, truth = touch(tmp_path / "pred", "a.laz", "a.ply"), touch(tmp_path / "truth", "a.laz")
    found, problems = partners(pred, truth)
    assert names(found) == [("a.laz", "a.laz")]
    assert "a.laz of that name, too" in problems[str(pred / "a.ply")]


def test_what_cannot_be_paired_is_told(tmp_path):
    truth = touch(tmp_path / "truth", "a.laz")
    with pytest.raises(BadRequest, match="does not exist"):
        partners(tmp_path / "pred", truth)
    with pytest.raises(BadRequest, match="give two files, or two folders"):
        partners(truth, truth / "a.laz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRequest, match="no cloud in the folder"):
        partners(tmp_path / "empty", truth)
