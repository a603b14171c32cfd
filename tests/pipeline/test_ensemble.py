"""Several models as one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.clouds.cloud import Cloud
from app.errors import BadRequest
from app.options import Options
from app.pipeline.ensemble import together
from app.pipeline.segmenter import Segmenter
from tests.pipeline.pipeline_samples import make_network, make_procedure, make_terrain

FIELDS = ("confidence", "probabilities", "entropy")
NEAREST = {"type": "SphereCrop", "point_max": 2000, "mode": "center"}


def make_members(**second):
    """Two models of other weights and grids, the second with warnings of its own."""
    torch.manual_seed(1)
    other = make_network()
    for parameter in other.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    procedure = replace(make_procedure(grid_size=0.8), name="other", remarks=["remark"], **second)
    return [Segmenter(make_network(), make_procedure()), Segmenter(other, procedure)]


@pytest.mark.parametrize(("mode", "passes"), [("fast", 2), ("vote", 8), ("exact", None)])
def test_probabilities_are_means_and_all_else_is_made_of_these(mode, passes):
    cloud, members = make_terrain(), make_members()
    cloud.xyz[3] = np.nan
    heard = []
    options = Options(mode=mode, fields=FIELDS)
    alone = [member.segment(cloud, options) for member in members]
    out = together(members).segment(cloud, options, on_passes=lambda *given: heard.append(given))
    mean = np.mean([each.fields["probabilities"] for each in alone], 0)
    np.testing.assert_allclose(out.fields["probabilities"], mean, atol=1e-6)
    np.testing.assert_array_equal(out.fields["confidence"], out.fields["probabilities"].max(1))
    usable = np.arange(len(cloud)) != 3
    np.testing.assert_array_equal(out.labels[usable], 10 + out.fields["probabilities"].argmax(1)[usable])
    assert out.labels[3] == -1
    assert all((out.labels != each.labels).any() for each in alone)
    entropy = -(mean * np.log(mean.clip(1e-30))).sum(1)
    np.testing.assert_allclose(out.fields["entropy"], entropy, atol=1e-4)
    assert out.meta.passes == out.meta.passes_wanted == sum(each.meta.passes for each in alone)
    assert passes in (None, out.meta.passes)
    assert out.meta.model == "made-up+other"
    assert out.meta.warnings.count("remark") == 1
    assert len(out.meta.warnings) == len(set(out.meta.warnings))
    if mode != "fast":
        made = [given[0] for given in heard]
        assert made == sorted(made)


def test_agreement_is_that_of_the_views_of_all_models():
    cloud, members = make_terrain(), make_members()
    out = together(members).segment(cloud, Options(mode="vote", fields=("agreement",)))
    assert set(np.unique(out.fields["agreement"] * 8 % 1)) == {0}
    assert {0.125, 0.5, 1} < set(np.unique(out.fields["agreement"]).tolist())
    same = together([members[0], members[0]]).segment(cloud, Options(mode="vote", fields=("agreement",)))
    alone = members[0].segment(cloud, Options(mode="vote", fields=("agreement",)))
    np.testing.assert_array_equal(same.fields["agreement"], alone.fields["agreement"])


def test_what_one_model_cannot_use_has_what_the_other_says():
    cloud, members = make_terrain(), make_members(transform=[NEAREST, *make_procedure().transform])
    first, second = (member.segment(cloud, Options(fields=FIELDS)) for member in members)
    out = together(members).segment(cloud, Options(fields=FIELDS))
    is_left_out = second.labels == -1
    assert is_left_out.sum() == 1000
    for name in FIELDS:
        np.testing.assert_array_equal(out.fields[name][is_left_out], first.fields[name][is_left_out])
    mean = (first.fields["probabilities"] + second.fields["probabilities"]) / 2
    np.testing.assert_allclose(out.fields["probabilities"][~is_left_out], mean[~is_left_out], atol=1e-6)
    nothing = together(members).segment(Cloud(np.full((4, 3), np.nan), "npy"), Options(fields=FIELDS, smooth=4))
    np.testing.assert_array_equal(nothing.labels, np.full(4, -1))


def test_agreement_is_among_the_views_that_could_use_a_point():
    cloud, members = make_terrain(), make_members(transform=[NEAREST, *make_procedure().transform])
    options = Options(mode="vote", fields=("agreement",))
    first, second = (member.segment(cloud, options) for member in members)
    found = together(members).segment(cloud, options).fields["agreement"]
    is_left_out = second.labels == -1
    assert is_left_out.sum() == 1000
    np.testing.assert_array_equal(found[is_left_out], first.fields["agreement"][is_left_out])
    assert first.fields["agreement"][is_left_out].max() == 1
    both = members[0].segment(cloud, options).labels == second.labels
    both &= ~is_left_out & (first.fields["agreement"] == 1) & (second.fields["agreement"] == 1)
    assert both.any()
    np.testing.assert_array_equal(found[both], np.ones(both.sum(), np.float32))


def test_steps_refine_the_means():
    cloud, members = make_terrain(), make_members()
    plain = together(members).segment(cloud, Options(fields=FIELDS))
    limit = float(np.median(plain.fields["confidence"]))
    out = together(members).segment(cloud, Options(fields=FIELDS, min_confidence=limit))
    np.testing.assert_array_equal(out.labels == -1, plain.fields["confidence"] < limit)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda classes: classes[:5],
            "6 and 5 of them, and the class of place 5 is 'class 5' in the first and missing",
        ),
        (lambda classes: [*classes[:2], replace(classes[2], name="wall"), *classes[3:]], "'class 2' .* and 'wall' in"),
        (lambda classes: [replace(classes[0], asprs=2), *classes[1:]], r"'class 0' \(code 2\) in the second"),
    ],
)
def test_other_classes_are_refused_with_what_differs(change, words):
    members = make_members(classes=change(make_procedure().classes))
    with pytest.raises(BadRequest, match="made-up and other cannot be averaged") as caught:
        together(members)
    assert caught.match(words)


def test_fields_of_one_network_are_refused():
    whole = together(make_members())
    for name in ("energy", "features"):
        with pytest.raises(BadRequest, match=f"fields={name} is of one network, and made-up\\+other are 2"):
            whole.for_options(Options(fields=("confidence", name)))
    with pytest.raises(BadRequest, match="agreement is found in mode=vote only"):
        whole.for_options(Options(fields=("agreement",)))
    with pytest.raises(BadRequest, match="no condition 'else'"):
        whole.for_options(Options(condition="else"))


def test_one_model_is_itself():
    (first, _) = make_members()
    assert together([first]) is first
