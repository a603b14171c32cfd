"""Weights under other names than the network's, and beside other weights."""

import shutil
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import prune

from app.errors import BadModel
from app.pickles.weights import WEIGHTS
from app.zoo.check import check
from app.zoo.checkpoint import open_checkpoint, read
from app.zoo.loading import load_model
from app.zoo.weight_names import matched, unwrapped
from tests.zoo.experiment_samples import with_model


@pytest.fixture
def weights(golden):
    return read(golden / "model" / "model_best.pth")


@pytest.fixture
def served(folder, weights):
    """Saves what it is given as the checkpoint; the loaded model, whose weights are those of before."""

    def serve(checkpoint):
        torch.save(checkpoint, folder / "model" / "model_best.pth")
        assert check(folder).reason == ""
        model = load_model(folder)
        state = model.network.state_dict()
        assert all(torch.equal(state[name], weight) for name, weight in weights.items())
        return model

    return serve


@pytest.fixture
def refused(folder):
    def refuse(checkpoint):
        torch.save(checkpoint, folder / "model" / "model_best.pth")
        with pytest.raises(BadModel) as caught:
            load_model(folder)
        assert check(folder).reason == caught.value.detail
        return caught.value.detail

    return refuse


def under(prefix, weights):
    return {prefix + name: weight for name, weight in weights.items()}


def noise(weights):
    return {name: torch.full_like(weight, 9) for name, weight in weights.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "module.module.",
        "_orig_mod.module._orig_mod.",
        "_forward_module.",
        "_forward_module.module._orig_mod.",
        "_fsdp_wrapped_module.",
    ],
)
def test_prefixes_of_wrappers_are_taken_off_in_any_order(served, weights, prefix):
    assert served({"state_dict": under(prefix, weights)}).remarks == []


def test_wrappers_of_modules_within_are_taken_off(served, weights):
    inner = {name.replace("backbone.", "backbone._orig_mod.", 1): weight for name, weight in weights.items()}
    served({"state_dict": inner})
    inner = {name.replace(".conv1.", "._checkpoint_wrapped_module.conv1."): weight for name, weight in weights.items()}
    served({"state_dict": under("module.", inner)})


def test_safetensors_may_have_them_too(folder, weights):
    (folder / "model" / "model_best.pth").unlink()
    safetensors.torch.save_file(under("_orig_mod.module.", weights), folder / "model" / "model_best.safetensors")
    assert load_model(folder).remarks == []


def test_names_that_become_one_are_refused_with_both():
    with pytest.raises(BadModel, match=r"_orig_mod\.a and module\._orig_mod\.a are one name"):
        unwrapped({"_orig_mod.a": 1, "module._orig_mod.a": 2})
    assert unwrapped({"module": 1, "a._orig_mod": 2, "b.module.c": 3}) == {"module": 1, "a": 2, "b.module.c": 3}


@pytest.mark.parametrize("prefix", ["model.", "net.", "network.", "student.", "model.module.", "my_net."])
def test_a_prefix_before_all_weights_is_taken_off_and_told(served, weights, prefix):
    model = served({"state_dict": under(prefix, weights), "pytorch-lightning_version": "2.4.0", "hyper_parameters": {}})
    assert any(f"begin with {prefix}" in remark for remark in model.remarks)
    assert model.card()["remarks"] == model.remarks


@pytest.mark.parametrize("key", ["params", "generator", "net_state_dict"])
def test_weights_alone_under_any_key_and_beside_averages(served, weights, key):
    assert served({key: weights, "epoch": 3}).remarks == []
    (told,) = served({f"{key}_ema": noise(weights), key: weights}).remarks
    assert f"({key}_ema), which are left out: the weights served are those of {key}." in told


def test_what_stands_beside_the_weights_of_lightning_is_left_out_and_told(served, weights):
    state = under("model.", weights) | {"criterion.weight": torch.ones(20), "val_iou.confmat": torch.ones(2, 2)}
    (*_, told) = served({"state_dict": state}).remarks
    assert told == "Left out beside them: criterion.weight, val_iou.confmat."


def test_weights_without_the_name_of_the_backbone_get_it(folder, weights):
    state = {name.removeprefix("backbone."): weight for name, weight in weights.items()}
    torch.save(state, folder / "model" / "model_best.pth")
    (told,) = load_model(folder).remarks
    assert "lack backbone." in told


@pytest.mark.parametrize("key", WEIGHTS)
def test_weights_are_found_under_the_names_that_trainers_use(served, weights, key):
    served({"epoch": 3, key: weights, "optimizer": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}})


@pytest.mark.parametrize("key", ["ema", "state_dict_ema", "ema_state_dict", "model_ema", "ema_model", "swa_model"])
def test_averages_beside_the_weights_are_left_out_and_told(served, weights, key):
    (told,) = served({"state_dict": weights, key: noise(weights)}).remarks
    assert f"too ({key})" in told
    (told,) = served({"model": weights, key: {"module": noise(weights), "decay": 0.999}}).remarks
    assert "those of model" in told


@pytest.mark.parametrize("key", ["ema", "state_dict_ema", "ema_state_dict", "model_ema"])
def test_averages_alone_are_served_and_told(served, weights, key):
    for kept in (weights, {"module": weights, "updates": 7}, {"shadow": weights}, under("module.", weights)):
        (told,) = served({"epoch": 3, key: kept}).remarks
        assert "averages over training steps" in told
        assert f"as {key}" in told


def test_averages_of_torch_are_told(served, weights, golden):
    (told,) = served({"state_dict": {"n_averaged": torch.tensor(5), **under("module.", weights)}}).remarks
    assert "n_averaged" in told
    model = nn.Linear(2, 2)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    found, remarks = matched(unwrapped(averaged.state_dict()), ["weight", "bias"])
    assert set(found) == {"weight", "bias"}
    assert len(remarks) == 1


@pytest.mark.parametrize("prefix", ["ema.", "model_ema.", "ema_model.module.", "teacher.", "model_ema.module."])
def test_averages_among_the_weights_are_left_out_and_told(served, weights, prefix):
    (told,) = served({"state_dict": weights | under(prefix, noise(weights))}).remarks
    assert "left out" in told
    told = served({"state_dict": under("model.", weights) | under(prefix, noise(weights))}).remarks
    assert any("begin with model." in remark for remark in told)
    assert any("Left out" in remark and prefix in remark for remark in told)
    told = served({"state_dict": under("student.", weights) | under(prefix, noise(weights))}).remarks
    assert any("begin with student." in remark for remark in told)


def test_averages_of_mmcv_are_left_out_and_told(served, weights):
    ema = {"ema_" + name.replace(".", "_"): weight for name, weight in noise(weights).items()}
    (told,) = served({"state_dict": weights | ema}).remarks
    assert "ema_backbone_" in told


def test_averages_alone_among_the_names_are_served_and_told(served, weights):
    (told,) = served({"state_dict": under("model_ema.", weights)}).remarks
    assert told == (
        "The averages over training steps served are those whose names begin with model_ema.; it was taken off."
    )


def test_half_of_each_is_never_served(refused, weights):
    names = list(weights)
    some, others = (dict.fromkeys(part) for part in (names[:100], names[100:]))
    mixed = {name: weights[name] for name in some} | under("ema.", {name: weights[name] for name in others})
    assert "do not fit" in refused({"state_dict": mixed})
    assert "do not fit" in refused({"ema": {name: weights[name] for name in some}})


def test_two_networks_that_fit_are_refused_by_their_names(refused, weights):
    told = refused({"state_dict": under("first.", weights) | under("second.", noise(weights))})
    assert "several networks that fit config.py (first., second.)" in told


def test_half_precision_is_widened(folder, weights):
    for kind in (torch.float16, torch.bfloat16):
        halved = {name: weight.to(kind) if weight.is_floating_point() else weight for name, weight in weights.items()}
        torch.save({"state_dict": under("model.", halved)}, folder / "model" / "model_best.pth")
        state = load_model(folder).network.state_dict()
        assert all(torch.equal(state[name], weight.to(state[name].dtype)) for name, weight in halved.items())


def test_adapters_may_have_a_prefix(folder):
    model = {
        "type": "DefaultLORASegmentorV2",
        "num_classes": 20,
        "backbone_out_channels": 8,
        "use_lora": False,
        "backbone": {
            "type": "SpUNet-v1m1",
            "in_channels": 6,
            "num_classes": 0,
            "base_channels": 8,
            "channels": (8, 8),
            "layers": (1, 1),
        },
    }
    network = with_model(folder, model)
    torch.save({"state_dict": under("model.", network.state_dict())}, folder / "model" / "model_best.pth")
    assert len(load_model(folder).remarks) == 1


@pytest.mark.parametrize(
    ("wrap", "told"),
    [
        (nn.utils.parametrizations.weight_norm, "remove_parametrizations"),
        (nn.utils.parametrizations.spectral_norm, "remove_parametrizations"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 1), "prune.remove"),
    ],
)
def test_weights_in_parts_say_how_they_are_joined(refused, weights, wrap, told):
    layer = nn.Linear(4, 3)
    wrap(layer)
    state = dict(weights)
    last = next(name for name in reversed(weights) if name.endswith(".weight"))
    del state[last]
    parts = {last.removesuffix("weight") + name: part for name, part in layer.state_dict().items() if name != "bias"}
    assert told in refused({"state_dict": state | parts})


def test_extra_state_of_modules_is_not_read(tmp_path):
    state = OrderedDict(a=torch.ones(1), **{"layer._extra_state": {"version": 1}})
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    assert list(open_checkpoint(tmp_path / "a.pth").weights) == ["a"]


def test_a_copy_of_the_folder_under_a_name_with_a_colon_is_found(folder, tmp_path):
    from app.zoo.experiment import find, split

    odd = tmp_path / "run 10:30" / "base:2"
    shutil.copytree(folder, odd)
    assert [found.name for found in find(f"{folder}:{odd}")] == [folder.name, "base:2"]
    assert find(f"{odd}:{folder}") == [odd, folder]
    assert find(str(odd.parent)) == [odd]
    assert split(f"a:b:{odd}:c") == ["a", "b", str(odd), "c"]
    assert load_model(odd).card()["name"] == "base:2"
