"""The table of network types: lazy, and complete about what only weights tell."""

import subprocess
import sys

import pytest

from app.networks.registry import NETWORKS, build, completed, is_native
from tests.networks.models import prompts, ptv1
from tests.networks.network_samples import SPUNET


def test_the_table_is_read_without_torch():
    command = "import sys, app.networks.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_a_model_is_native_if_every_type_in_it_is():
    head = {"type": "DefaultSegmentor"}
    assert is_native(head | {"backbone": SPUNET})
    assert not is_native(head | {"backbone": {"type": "OctFormer-v1m1"}})
    assert not is_native({"type": "Unheard-of", "backbone": SPUNET})


def without(config, argument):
    return {key: value for key, value in config.items() if key != argument}


def test_widths_that_only_the_weights_tell_are_completed():
    whole = ptv1.model(38)
    lacking = whole | {"backbone": without(whole["backbone"], "planes")}
    assert completed(lacking, build(whole).state_dict())["backbone"]["planes"] == list(ptv1.PLANES)
    assert completed(lacking, {}) == lacking


def test_arguments_that_a_config_states_stay():
    weights = build(prompts.LANGUAGE).state_dict()
    assert completed(without(prompts.LANGUAGE, "embedding_channels"), weights)["embedding_channels"] == 7
    assert completed(prompts.LANGUAGE | {"embedding_channels": 9}, weights)["embedding_channels"] == 9


@pytest.mark.parametrize("kind", [kind for kind in NETWORKS if kind.startswith("Default")])
def test_a_wrapper_declares_what_its_backbone_does(kind):
    head = {"num_classes": 5, "backbone_out_channels": 8} if kind != "DefaultSegmentor" else {}
    for backbone in (SPUNET, ptv1.model(26)["backbone"] | {"num_classes": 8}):
        network = build({"type": kind, "backbone": backbone, **head})
        inner = network.backbone
        assert network.plans_positions == inner.plans_positions
        assert network.supports_half_precision == inner.supports_half_precision
