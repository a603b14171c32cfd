import json

import pytest
import torch
from safetensors.torch import load_file

from app.networks.registry import build
from tests.pipeline.pipeline_samples import GOLDEN, make_procedure


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def network():
    """SpUNet with six inputs and six classes, random weights of a golden case."""
    case = GOLDEN / "spunet_v1m1_batch3_tiny_mix"
    network = build(json.loads((case / "config.json").read_text())["model"])
    network.load_state_dict(load_file(case / "weights.safetensors"))
    return network


@pytest.fixture
def procedure():
    """Color and normal on voxels of half a metre."""
    return make_procedure()
