import pytest
import torch

from app.errors import BadModel
from app.zoo.checkpoint import read
from app.zoo.loading import load_model


def refused(folder) -> str:
    with pytest.raises(BadModel) as caught:
        load_model(folder)
    return caught.value.detail


def rewrite(folder, change) -> None:
    path = folder / "model" / "model_best.pth"
    weights = read(path)
    change(weights)
    torch.save({"state_dict": weights}, path)


def test_a_network_with_every_weight_of_the_checkpoint(golden):
    loaded = load_model(golden)
    weights = read(loaded.experiment.checkpoint)
    state = loaded.network.state_dict()
    assert set(state) == set(weights)
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    assert loaded.card()["num_parameters"] == sum(parameter.numel() for parameter in loaded.network.parameters())


def test_counters_of_batch_norms_may_be_missing(folder):
    def drop_counters(weights):
        for name in [name for name in weights if name.endswith("num_batches_tracked")]:
            del weights[name]

    rewrite(folder, drop_counters)
    assert load_model(folder).network is not None


def test_weights_in_half_precision_are_served_in_float32(folder):
    rewrite(
        folder, lambda weights: weights.update({name: t.half() for name, t in weights.items() if t.is_floating_point()})
    )
    assert {parameter.dtype for parameter in load_model(folder).network.parameters()} == {torch.float32}


def test_missing_unexpected_and_unlike_weights_are_named(folder):
    def spoil(weights):
        weights["backbone.surplus"] = torch.ones(1)
        del weights["backbone.final.bias"]
        weights["backbone.final.weight"] = torch.ones(7)
        weights["backbone.conv_input.1.bias"] = weights["backbone.conv_input.1.bias"].long()

    rewrite(folder, spoil)
    message = refused(folder)
    assert "1 missing: backbone.final.bias" in message
    assert "1 unexpected: backbone.surplus" in message
    assert "2 of another shape or type" in message
    assert "backbone.final.weight is float32 (7,)" in message
    assert "backbone.conv_input.1.bias is int64" in message


def test_a_config_that_asks_for_a_huge_network_costs_no_memory(folder):
    config = folder / "config.py"
    config.write_text(config.read_text().replace("channels=(8, 8, 12, 16,", "channels=(8, 8, 12, 10**6,"))
    assert "of another shape" in refused(folder)


def test_a_type_that_is_not_served_is_named(folder):
    config = folder / "config.py"
    config.write_text(config.read_text().replace("'SpUNet-v1m1'", "'PT-v9'"))
    assert "PT-v9" in refused(folder)
