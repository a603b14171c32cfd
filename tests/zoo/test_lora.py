"""Adapters in a checkpoint: merged, or refused with the name of what contradicts."""

import pytest
import torch

from app.errors import BadModel
from app.networks import registry
from app.zoo import loading
from app.zoo.lora import merge

BACKBONE = {
    "type": "PT-v3m1",
    "in_channels": 4,
    "stride": (2,),
    "enc_depths": (1, 1),
    "enc_channels": (8, 16),
    "enc_num_head": (2, 2),
    "enc_patch_size": (16, 16),
    "enable_flash": False,
    "enc_mode": True,
}
MODEL = {
    "type": "DefaultLORASegmentorV2",
    "backbone": BACKBONE,
    "num_classes": 3,
    "backbone_out_channels": 24,
    "use_lora": True,
    "lora_r": 2,
    "lora_alpha": 6,
    "lora_dropout": 0.1,
    "backbone_path": "exp/never/opened.pth",
    "keywords": "module.student.backbone",
    "replacements": "module.backbone",
    "criteria": [{"type": "CrossEntropyLoss"}],
    "freeze_backbone": False,
}


@pytest.fixture
def plain():
    torch.manual_seed(0)
    return registry.build(MODEL | {"use_lora": False}).requires_grad_(False)


@pytest.fixture
def weights(plain):
    """Names and tensors as peft writes them."""
    torch.manual_seed(1)
    out = {}
    for name, tensor in plain.state_dict().items():
        name = name.replace("backbone.enc.", "backbone.enc.base_model.model.")
        if ".attn.qkv." in name:
            layer, kind = name.rsplit(".", 1)
            out[f"{layer}.base_layer.{kind}"] = tensor
            if kind == "weight":
                out[f"{layer}.lora_A.default.weight"] = torch.randn(2, tensor.shape[1])
                out[f"{layer}.lora_B.default.weight"] = torch.randn(tensor.shape[0], 2)
        else:
            out[name] = tensor
    return out


def test_merged_layers_answer_as_the_adapted_ones(plain, weights):
    merged = loading.build(MODEL, weights)
    x = torch.randn(10, 16)
    for stage in ("enc0", "enc1"):
        adapter = f"backbone.enc.base_model.model.{stage}.block0.attn.qkv.lora_"
        down, up = (weights[f"{adapter}{part}.default.weight"] for part in "AB")
        layer, before = (network.backbone.enc[stage].block0.attn.qkv for network in (merged, plain))
        given = x[:, : down.shape[1]]
        expected = torch.nn.functional.linear(given, before.weight, before.bias) + 3 * (given @ down.t() @ up.t())
        answer = torch.nn.functional.linear(given, layer.weight, layer.bias)
        torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)
    assert set(merged.state_dict()) == set(plain.state_dict())


def test_without_adapters_the_weights_are_those_of_the_plain_network(plain):
    model = MODEL | {"use_lora": False}
    built = loading.build(model, plain.state_dict())
    assert torch.equal(built.seg_head.weight, plain.seg_head.weight)


def test_weights_of_other_types_are_left_alone():
    weights = {"base_layer.weight": torch.ones(1)}
    assert merge({"type": "DefaultSegmentorV2"}, weights) == weights


@pytest.mark.parametrize(
    ("changes", "spoil", "message"),
    [
        ({"lora_r": 4}, None, "do not fit lora_r 4"),
        ({"lora_r": 0}, None, "model.lora_r is 0"),
        ({}, "lora_A", "enc0.block0.attn.qkv.lora_A.default.weight is missing"),
        ({}, "base_layer", "enc0.block0.attn.qkv.weight is missing"),
        ({}, "lora_", "model.use_lora is True, but no weight is named lora_A"),
        ({"use_lora": False}, None, "unexpected"),
        ({"rank": 2}, None, "model: unknown key rank"),
    ],
)
def test_contradictions_are_refused_by_name(weights, changes, spoil, message):
    if spoil:
        weights = {name: tensor for name, tensor in weights.items() if spoil not in name}
    with pytest.raises(BadModel, match=message):
        loading.build(MODEL | changes, weights)


def test_a_layer_that_is_given_twice_is_refused(weights):
    twice = weights | {"backbone.enc.enc0.block0.attn.qkv.weight": torch.ones(24, 8)}
    with pytest.raises(BadModel, match="both with base_layer"):
        loading.build(MODEL, twice)
