"""Networks that say that they plan for voxels alone do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from app.zoo import loading

GOLDEN = Path(__file__).parents[1] / "golden"


def model_of(case):
    return json.loads((case / "config.json").read_text()).get("model")


def cases():
    """Goldens of networks that plan for voxels alone."""
    found = [path.parent for path in sorted(GOLDEN.glob("*/weights.safetensors"))]
    with torch.device("meta"):
        return [
            case for case in found if not case.name.startswith("pipeline") and not build(model_of(case)).plans_positions
        ]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_positions_change_nothing_where_they_are_not_planned_for(case):
    network = loading.build(model_of(case), load_file(case / "weights.safetensors"))
    with np.load(case / "input.npz") as given:
        first = slice(0, int(given["offset"][0]))
        voxels = torch.from_numpy(np.insert(given["grid_coord"][first].astype(np.int64), 0, 0, 1))
        coord, feat = (torch.from_numpy(given[name][first]) for name in ("coord", "feat"))
        condition = str(given["condition"].item()) if "condition" in given else None
    elsewhere = coord.flip(0) * 3
    with torch.inference_mode():
        plans = [network.plan(VoxelBatch(voxels, at, condition=condition)) for at in (coord, elsewhere)]
        here, there = (network(feat, plan) for plan in plans)
    assert torch.equal(here, there)
