"""Several models as one, in the service."""

import io
import shutil

import numpy as np
import pytest
import torch

from app.engine.model_card import ModelCard
from app.engine.service import Service
from app.errors import BadRequest, NotFound
from app.options import Options, models_in
from app.settings import Settings
from app.survey.models import model_in, model_of
from tests.engine.engine_samples import EXPERIMENT, body_of, content, npz_bytes, wait_until


def copy_experiment(folder, seed):
    """The golden experiment with other weights."""
    shutil.copytree(EXPERIMENT, folder)
    path = folder / "model/model_best.pth"
    checkpoint = torch.load(path, weights_only=False)
    torch.manual_seed(seed)
    for name, values in checkpoint["state_dict"].items():
        if name.endswith("weight") and values.is_floating_point():
            values += 0.05 * values.std(unbiased=False) * torch.randn_like(values)
    torch.save(checkpoint, path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("ensemble")
    for seed, name in enumerate(("a", "b", "fewer")):
        copy_experiment(root / name, seed)
    config = root / "fewer/config.py"
    config.write_text(config.read_text().replace("'wall'", "'wainscot'"))
    return root


@pytest.fixture(scope="module")
def service(root):
    service = Service(Settings(models=str(root), device="cpu", threads=1, readers=1, default_model="a+b"))
    service.start()
    service.wait_ready(120)
    yield service
    service.stop(5.0)


def answered(service, model, **asked):
    """Labels and probabilities, and the model that the answer names."""
    options = Options(model, output="npz", fields=("probabilities",), **asked)
    with body_of(npz_bytes(600)) as body, service.predict(body, options) as answer:
        found = np.load(io.BytesIO(content(answer)))
        return found["labels"], found["probabilities"], answer.model


@pytest.mark.parametrize("mode", ["fast", "vote"])
def test_answers_are_means_of_those_of_the_models(service, mode):
    first, second = (answered(service, name, mode=mode)[1] for name in ("a", "b"))
    assert np.abs(first - second).max() > 0.01
    for name in ("a+b", "a b", ""):
        labels, shares, model = answered(service, name, mode=mode)
        assert model == "a+b"
        np.testing.assert_allclose(shares, (first + second) / 2, atol=1e-6)
        np.testing.assert_array_equal(labels, shares.argmax(1))


def test_a_model_that_is_not_served_is_named(service):
    with pytest.raises(NotFound, match="Model 'c' does not exist"):
        answered(service, "a+c")


def test_other_classes_are_refused_with_what_differs_before_the_cloud_is_read(service):
    with pytest.raises(BadRequest, match="'wall' in the first and 'wainscot' in the second"):
        answered(service, "a+fewer")
    with pytest.raises(BadRequest, match="'wall' in the first"), body_of(b"no cloud") as body:
        service.predict(body, Options("a+fewer"))


def test_one_that_was_unloaded_is_named_and_the_service_is_ready_again_with_it(service):
    service.unload("b")
    with pytest.raises(NotFound, match="Model 'b' is not served: It was unloaded"):
        answered(service, "a+b")
    assert service.status().state == "empty"
    assert "'b'" in service.status().reason
    service.load("b")
    wait_until(lambda: service.status().state == "ready")
    assert answered(service, "a+b")[2] == "a+b"


def test_a_card_of_several_counts_what_the_largest_takes_and_a_survey_knows_all_of_them(service, root):
    cards = {card.name: card for card in service.models()}
    card = ModelCard.of_several([cards["a"], cards["b"]])
    assert card.bytes_per_voxel == max(cards[name].bytes_per_voxel for name in "ab")
    assert not card.shares_passes
    assert set(cards["a"].fields) - set(card.fields) == {"energy", "features", "features_rgb"}
    settings = Settings(models=str(root))
    whole, first = model_of(card, settings), model_of(cards["a"], settings)
    assert (whole.name, whole.classes, whole.halo_m) == ("a+b", first.classes, first.halo_m)
    assert whole.digest == model_in([root / "a", root / "b"], settings).digest
    assert len({whole.digest, first.digest, model_of(cards["b"], settings).digest}) == 3


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a", ["a"]),
        ("a+b", ["a", "b"]),
        ("a b", ["a", "b"]),
        ("a+a", ["a"]),
        ("a+c", ["a", "c"]),
        ("a c", ["a c"]),
        ("x+y", ["x+y"]),
        ("x y", ["x+y"]),
        ("x+y+y", ["x+y"]),
        ("a+", ["a+"]),
        ("", [""]),
    ],
)
def test_names_that_are_joined(name, names):
    assert models_in(name, ["a", "b", "x+y"]) == names


def test_more_than_four_models_are_not_joined():
    assert models_in("a+b+c+d+a", list("abcd")) == list("abcd")
    with pytest.raises(BadRequest, match="joins 5 models; at most 4"):
        models_in("a+b+c+d+e", list("abcde"))
