import pytest

from app.errors import BadRequest
from app.evaluate.scheme import Scheme


def test_classes_are_the_codes_that_occur_and_a_true_one_without_partner_is_missed():
    found = Scheme().comparison({2, 4, 9, 11}, {1, 2, 5})
    assert found.names == ("ground", "high vegetation", "water")
    assert found.codes == ((2, 11), (4, 5), (9,))
    assert found.truth == {2: 0, 11: 0, 4: 1, 9: 2}
    assert found.predicted == {2: 0, 5: 1}


def test_codes_without_a_class_are_not_judged_unless_a_rule_or_the_user_says_so():
    codes = {-1, 0, 1, 2, 7, 12, 18}
    assert Scheme().judged("a.laz", codes) == {2}
    assert Scheme().judged("a.ply", codes, is_asprs=False) == codes - {-1}
    assert Scheme.parse(["2:ground", "1:other"]).judged("a.laz", codes) == {1, 2}
    assert Scheme.parse(ignores=["2"]).judged("a.laz", codes | {5}) == {5}
    assert Scheme.parse(["2:ground", "1:other"], ["1"]).judged("a.laz", codes) == {2}


def test_files_that_are_labelled_in_part_are_judged_in_part():
    scheme = Scheme.parse(ignores=["64", "nl_*:3-5"])
    assert scheme.judged("nl_delft.laz", {1, 2, 3, 4, 5, 6, 64}) == {2, 6}
    assert scheme.judged("fr_jura.laz", {1, 2, 3, 4, 5, 6, 64}) == {2, 3, 4, 5, 6}


def test_rules_between_code_sets(tmp_path):
    rules = tmp_path / "classes.txt"
    rules.write_text("# the model's ids and LAS\n0=2,8:ground\n\n1=3-5:vegetation # all of it\n=17:bridge\n2=:mast\n")
    found = Scheme.parse([str(rules), "3=6:building"]).comparison({2, 99}, {0, 7})
    assert found.names == ("ground", "vegetation", "bridge", "mast", "building")
    assert found.truth == {2: 0, 8: 0, 3: 1, 4: 1, 5: 1, 17: 2, 6: 4}
    assert found.predicted == {0: 0, 1: 1, 2: 3, 3: 4}
    assert found.codes[1] == (3, 4, 5)


def test_rules_of_one_name_are_one_class():
    assert Scheme.parse(["3:green", "5:green"]).comparison({3}, {5}).truth == {3: 0, 5: 0}


@pytest.mark.parametrize(
    ("maps", "ignores", "words"),
    [
        (["3,4:green", "4,5:high"], [], "code 4 of the prediction two classes"),
        (["1=4:green", "2=4:high"], [], "code 4 of the truth two classes"),
        (["3,x:green"], [], "'x' is no code"),
        (["5-3:green"], [], "'5-3' is no code"),
        (["3:"], [], "names no class"),
        (["nowhere.txt"], [], "nowhere.txt: no rule, and no file"),
        ([], ["ground"], "--ignore ground: 'ground' is no code"),
        ([], ["b*:"], "--ignore b\\*:: '' is no code"),
    ],
)
def test_what_makes_no_sense_is_told(maps, ignores, words):
    with pytest.raises(BadRequest, match=words):
        Scheme.parse(maps, ignores)
