"""PPT-v1m3, whose checkpoints lack the text embeddings of its classes."""

import numpy as np
import pytest
import torch

from app.errors import BadModel
from app.zoo.check import check
from app.zoo.loading import load_model
from tests.zoo.experiment_samples import with_model

MODEL = {
    "type": "PPT-v1m3",
    "backbone": {
        "type": "SpUNet-v1m1",
        "in_channels": 6,
        "num_classes": 0,
        "base_channels": 4,
        "channels": (4, 4),
        "layers": (1, 1),
    },
    "backbone_out_channels": 4,
    "conditions": ("S3DIS", "ScanNet"),
    "class_names": [["wall", "floor"], [f"thing {i}" for i in range(20)]],
}
EMBEDDINGS = np.random.RandomState(0).randn(22, 512).astype(np.float16)


@pytest.fixture
def without(folder):
    """An experiment folder as Pointcept leaves it."""
    network = with_model(folder, MODEL, condition="ScanNet")
    weights = {name: tensor for name, tensor in network.state_dict().items() if name != "class_embeddings"}
    torch.save({"state_dict": weights}, folder / "model" / "model_best.pth")
    return folder


def test_embeddings_beside_the_config_complete_the_checkpoint(without):
    np.save(without / "class_embeddings.npy", EMBEDDINGS)
    network = load_model(without).network
    assert torch.equal(network.class_embeddings, torch.from_numpy(EMBEDDINGS).float())
    assert check(without).served


def test_embeddings_in_the_checkpoint_come_first(folder):
    network = with_model(folder, MODEL, condition="ScanNet")
    np.save(folder / "class_embeddings.npy", EMBEDDINGS)
    assert torch.equal(load_model(folder).network.class_embeddings, network.class_embeddings)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (None, "put them beside config.py as class_embeddings.npy"),
        (EMBEDDINGS[:21], r"class_embeddings is float32 \(21, 512\), the network's float32 \(22, 512\)"),
        (EMBEDDINGS[0], r"holds float16 \(512,\); accepted are finite floats"),
        (np.full((22, 512), np.nan), "accepted are finite floats"),
        (np.array([{}]), "class_embeddings.npy cannot be read"),
        (b"version https://git-lfs", "class_embeddings.npy cannot be read"),
    ],
)
def test_what_is_missing_or_wrong_is_said(without, embeddings, message):
    path = without / "class_embeddings.npy"
    if isinstance(embeddings, bytes):
        path.write_bytes(embeddings)
    elif embeddings is not None:
        np.save(path, embeddings)
    with pytest.raises(BadModel, match=message):
        load_model(without)
    assert not check(without).served
