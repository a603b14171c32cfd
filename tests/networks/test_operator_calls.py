"""How many of the libraries' operators a forward calls: each costs the host about as long as a GPU needs for it."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from app.networks.fold import fold
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from tests.networks.network_samples import make_voxels

# a stem, a call a stage and a step between levels; steps with layer norms, and SpUNet's, are convolutions
NETWORKS = {
    "PT-v3m1": {"sparse_conv": 1, "attention_blocks": 9, "pool": 4, "unpool": 4},
    "PT-v3m2": {"sparse_conv": 13, "attention_blocks": 9},
    "SpUNet-v1m1": {"sparse_conv": 10, "residual_blocks": 8},
}


class Calls(TorchDispatchMode):
    """While it is entered, counts calls of operators of sparseops by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        library, _, name = function._schema.name.partition("::")
        self.names.update([name] if library == "sparseops" else [])
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("kind", NETWORKS)
@torch.inference_mode()
def test_a_forward_is_few_calls(kind):
    backbone = {"type": kind, "in_channels": 6} | ({"num_classes": 13} if kind.startswith("SpUNet") else {})
    network, voxels = fold(build({"type": "Encoder", "backbone": backbone})), make_voxels(1, 200)
    plan = network.plan(VoxelBatch(voxels))
    with Calls() as calls:
        network.logits_and_features(torch.randn(len(voxels), 6), plan)
    assert {name: calls.names[name] for name in NETWORKS[kind]} == NETWORKS[kind]
