"""classes.json beside config.py gives classes codes."""

import json

import pytest

from app.errors import BadModel
from app.settings import DEFAULTS
from app.survey.models import model_in
from app.zoo.experiment import load


def stated(folder, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "classes.json").write_text(text)
    return folder


def test_classes_get_codes_by_name_and_id(folder):
    before = load(folder).classes
    after = load(stated(folder, {"Floor": 2, "0": 6})).classes
    assert {info.name: info.asprs for info in after if info.asprs is not None} == {"floor": 2, "wall": 6}
    assert [(info.id, info.name, info.color) for info in after] == [(info.id, info.name, info.color) for info in before]


def test_a_survey_is_done_again_for_other_codes(folder):
    digests = [model_in([folder], DEFAULTS).digest]
    digests += [model_in([stated(folder, {"floor": code})], DEFAULTS).digest for code in (2, 11)]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"roof": 6}, "'roof', which the model does not have; it has 'wall'"),
        ({"floor": 256}, "0 to 255"),
        ({"floor": True}, "0 to 255"),
        (["floor"], "an object"),
        ("{", "cannot be read"),
    ],
)
def test_what_is_wrong_is_told(folder, content, words):
    with pytest.raises(BadModel, match=words):
        load(stated(folder, content))
